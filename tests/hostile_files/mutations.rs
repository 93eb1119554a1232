//! Random damage: a damaged file is refused, or reads as the very tensors that were written.

use proptest::prelude::*;
use qwen3_embedding::{Checkpoint, Dtype, ModelConfig};

use crate::support::{CONFIG, DATA, TENSORS, config, dir, file, header};

/// Opens a model of these bytes. If that goes well, all must be as in the undamaged file.
fn open(bytes: &[u8]) -> bool {
    let dir = dir(&[("model.safetensors", bytes)]);
    let Ok(checkpoint) = Checkpoint::open(dir.path(), &config()) else {
        return false;
    };
    assert_eq!(checkpoint.weight_bytes(), DATA as u64);
    for (name, shape) in TENSORS {
        let tensor = checkpoint.tensor(name).unwrap();
        // BF16 and F16 are of one size; one damaged byte does not turn one into the other.
        assert_eq!(
            (tensor.name(), tensor.dtype(), tensor.shape()),
            (name, Dtype::Bf16, shape)
        );
        assert_eq!(
            tensor.to_f32().unwrap().len(),
            shape.iter().product::<usize>()
        );
    }
    true
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn one_damaged_byte(at in any::<prop::sample::Index>(), flip in 1..=255u8) {
        let mut bytes = file(&header(), DATA);
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        let opened = open(&bytes);
        // Damage to the data cannot be seen: the format has no checksum.
        prop_assert!(opened || at < bytes.len() - DATA);
    }

    #[test]
    fn damaged_length_and_header(at in prop::collection::vec((0..600usize, any::<u8>()), 1..8)) {
        let mut bytes = file(&header(), DATA);
        for (at, byte) in at {
            bytes[at] = byte;
        }
        open(&bytes);
    }

    #[test]
    fn truncated(len in any::<prop::sample::Index>()) {
        let bytes = file(&header(), DATA);
        prop_assert!(!open(&bytes[..len.index(bytes.len())]));
    }

    #[test]
    fn damaged_config(at in any::<prop::sample::Index>(), byte in any::<char>()) {
        let mut chars: Vec<char> = CONFIG.chars().collect();
        let at = at.index(chars.len());
        chars[at] = byte;
        let text: String = chars.into_iter().collect();
        // Must not panic, whatever it says.
        let _ = ModelConfig::parse("config.json".as_ref(), &text);
    }
}
