//! A batch that does not fit is split; a sequence that does not fit is an error.
//!
//! Limits are the process's: these tests take turns, and no other unit test loads a model but
//! those of the selection, which take turns with them.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::sync::Mutex;

use super::ffi::bridge;
use super::{Limits, Mlx};
use crate::backend::tuning::Tuner;
use crate::backend::{Backend, Device, Precision, Work};
use crate::batch::TokenBatch;
use crate::checkpoint::Checkpoint;
use crate::config::ModelConfig;
use crate::error::Result;

/// Held by a test that changes limits or loads a model.
pub(in crate::backend) static TURN: Mutex<()> = Mutex::new(());

/// Runs `body` with `bytes` left under the library's memory limit.
pub(in crate::backend) fn with_bytes_left<T>(bytes: usize, body: impl FnOnce() -> T) -> T {
    let limit = bridge::active_memory().unwrap() + bytes;
    let previous = bridge::set_memory_limit(limit).unwrap();
    let result = body();
    bridge::set_memory_limit(previous).unwrap();
    result
}

fn tiny() -> (ModelConfig, Checkpoint) {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/tiny");
    let config = ModelConfig::from_file(&dir.join("config.json")).unwrap();
    let checkpoint = Checkpoint::open(&dir, &config).unwrap();
    (config, checkpoint)
}

fn load(config: &ModelConfig, checkpoint: &Checkpoint) -> Result<Mlx> {
    let info = super::probe(Device::Cpu, Precision::F32)?;
    let (limits, tuner) = (Limits::default(), Tuner::off());
    Mlx::load(info, config, checkpoint, 0, limits, &tuner)
}

#[test]
fn a_batch_is_split_until_it_fits_and_a_sequence_is_not() {
    let _turn = TURN.lock();
    let (config, checkpoint) = tiny();
    let mut model = load(&config, &checkpoint).unwrap();

    let sequences: Vec<Vec<u32>> = (1..=9)
        .map(|row| (0..20 + row).map(|i| (row * 131 + i * 17) % 1600).collect())
        .collect();
    let sequences: Vec<&[u32]> = sequences.iter().map(Vec::as_slice).collect();
    let batch = TokenBatch::new(&sequences, config.vocab_size()).unwrap();
    let whole = model.forward(&batch).unwrap();

    // One sequence of 29 tokens needs about 410 kB, nine of them nine times that.
    let split = with_bytes_left(1_000_000, || model.forward(&batch)).unwrap();
    assert_eq!(split.data.len(), whole.data.len());
    for (a, b) in split.data.iter().zip(&whole.data) {
        // The invariance bound of f32.
        assert!((a - b).abs() <= 1e-5, "{a} {b}");
    }

    let error = with_bytes_left(1000, || model.forward(&batch)).unwrap_err();
    let text = error.to_string();
    assert!(
        text.starts_with("21 tokens in 1 sequences are too many for MLX: about "),
        "{text}"
    );

    let refused = with_bytes_left(1000, || load(&config, &checkpoint));
    // Other tests hold and free arrays meanwhile, so what is left is not told to the byte.
    let text = refused.err().unwrap().to_string();
    assert!(
        text.starts_with("the model's weights take 9149184 bytes on MLX, and "),
        "{text}"
    );
}

#[test]
fn after_a_failed_operation_the_model_is_gone() {
    let _turn = TURN.lock();
    let (config, checkpoint) = tiny();
    let mut model = load(&config, &checkpoint).unwrap();
    let batch = TokenBatch::new(&[&[1, 2]], config.vocab_size()).unwrap();
    model.forward(&batch).unwrap();
    // A batch for a larger table: the gather refuses it, as a failing operation would.
    let foreign = TokenBatch::new(&[&[1, 15_000]], 16_000).unwrap();
    assert_eq!(
        model.forward(&foreign).unwrap_err().to_string(),
        "MLX: take: index 15000 of 12288 rows"
    );
    assert_eq!(
        model.forward(&batch).unwrap_err().to_string(),
        "MLX: forward: an earlier operation failed; load the model anew"
    );
}

#[test]
fn measured_passes_are_not_counted_as_work() {
    let _turn = TURN.lock();
    let (config, checkpoint) = tiny();
    let info = super::probe(Device::Cpu, Precision::F32).unwrap();
    let tuner = Tuner::off();
    let mut model = Mlx::load(info, &config, &checkpoint, 0, Limits::default(), &tuner).unwrap();
    let measured = model.measure().unwrap();
    assert_eq!(measured.threads, None);
    let tokens = measured.batch_tokens;
    assert!(tokens.is_none_or(|tokens| (512..=4096).contains(&tokens)));
    assert_eq!(model.work(), Work::default());
}
