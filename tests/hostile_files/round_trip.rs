//! Files as the `safetensors` crate writes them read back bit for bit.

use std::path::Path;

use half::{bf16, f16};
use qwen3_embedding::{Checkpoint, Dtype, ModelConfig};
use safetensors::tensor::{Dtype as Stored, TensorView, serialize_to_file};
use tempfile::TempDir;

use crate::support::{CONFIG, TENSORS, config, edit};

/// Exact in all three types: multiples of 1/8 between -16 and 16.
fn values(len: usize) -> Vec<f32> {
    (0..len).map(|n| (n % 256) as f32 / 8.0 - 16.0).collect()
}

fn bytes(values: &[f32], dtype: Dtype) -> Vec<u8> {
    values
        .iter()
        .flat_map(|&value| match dtype {
            Dtype::F16 => f16::from_f32(value).to_le_bytes().to_vec(),
            Dtype::Bf16 => bf16::from_f32(value).to_le_bytes().to_vec(),
            _ => value.to_le_bytes().to_vec(),
        })
        .collect()
}

fn write(path: &Path, tensors: &[(&str, Vec<usize>)], prefix: &str, dtype: Dtype) {
    let stored = match dtype {
        Dtype::F16 => Stored::F16,
        Dtype::Bf16 => Stored::BF16,
        _ => Stored::F32,
    };
    let data: Vec<_> = tensors
        .iter()
        .map(|(_, shape)| bytes(&values(shape.iter().product()), dtype))
        .collect();
    let views = tensors.iter().zip(&data).map(|((name, shape), data)| {
        (
            format!("{prefix}{name}"),
            TensorView::new(stored, shape.clone(), data).unwrap(),
        )
    });
    let metadata = [("format".to_owned(), "pt".to_owned())].into();
    serialize_to_file(views, Some(metadata), path).unwrap();
}

#[test]
fn every_dtype_with_and_without_prefix() {
    for dtype in [Dtype::F32, Dtype::F16, Dtype::Bf16] {
        for prefix in ["", "model."] {
            let dir = TempDir::new().unwrap();
            let tensors = TENSORS.map(|(name, shape)| (name, shape.to_vec()));
            write(
                &dir.path().join("model.safetensors"),
                &tensors,
                prefix,
                dtype,
            );
            let checkpoint = Checkpoint::open(dir.path(), &config()).unwrap();
            for (name, shape) in TENSORS {
                let tensor = checkpoint.tensor(name).unwrap();
                let len: usize = shape.iter().product();
                assert_eq!(
                    (tensor.name(), tensor.dtype()),
                    (format!("{prefix}{name}").as_str(), dtype)
                );
                assert_eq!(
                    (tensor.shape(), tensor.byte_len()),
                    (shape, len * dtype.size())
                );
                assert_eq!(tensor.to_f32().unwrap(), values(len));
            }
        }
    }
}

#[test]
fn a_tensor_larger_than_a_window_comes_whole_and_in_order() {
    // 8 MiB windows, and 16 bytes more than two of them.
    const ROWS: usize = (1 << 20) + 1;
    let vocab = format!(r#""vocab_size": {ROWS}"#);
    let config = edit(CONFIG, r#""vocab_size": 16"#, &vocab);
    let config = ModelConfig::parse("config.json".as_ref(), &config).unwrap();
    let mut tensors = TENSORS.map(|(name, shape)| (name, shape.to_vec()));
    if let Some((_, shape)) = tensors
        .iter_mut()
        .find(|(name, _)| *name == "embed_tokens.weight")
    {
        *shape = vec![ROWS, 8];
    }
    let dir = TempDir::new().unwrap();
    write(
        &dir.path().join("model.safetensors"),
        &tensors,
        "",
        Dtype::Bf16,
    );

    let checkpoint = Checkpoint::open(dir.path(), &config).unwrap();
    let tensor = checkpoint.tensor("embed_tokens.weight").unwrap();
    let mut lens = Vec::new();
    let mut all = Vec::new();
    tensor
        .for_each_window(|window| {
            lens.push(window.len());
            all.extend_from_slice(window);
            Ok(())
        })
        .unwrap();
    assert_eq!(lens, [8 << 20, 8 << 20, 16]);
    assert!(all == bytes(&values(ROWS * 8), Dtype::Bf16));
}
