//! The same checkpoint gives the same vectors on every backend.
#![cfg(all(feature = "mlx", feature = "onnx"))]
#![allow(clippy::unwrap_used)]

mod support;

use qwen3_embedding::{BackendChoice, Precision};
use support::*;

/// Ragged: lengths 1 to 33 with gaps, none sharing content.
fn sequences() -> Vec<Vec<u32>> {
    [1u32, 33, 2, 17, 5, 9, 28]
        .iter()
        .map(|&length| (0..length).map(|i| (length * 41 + i * 17) % 96).collect())
        .collect()
}

#[test]
fn mlx_and_onnx_runtime_agree_in_f32() {
    let tiny = ("tiny".to_owned(), tiny());
    for (name, dir) in fixtures().into_iter().chain([tiny]) {
        let model = with_tokenizer(&dir);
        let [mlx, onnx] = [BackendChoice::Mlx, BackendChoice::Onnx].map(|backend| {
            let mut embedder = open(model.path(), backend, Precision::F32);
            let rows = embedder.config().vocab_size() as u32;
            let sequences: Vec<Vec<u32>> = sequences()
                .into_iter()
                .map(|ids| ids.into_iter().map(|id| id % rows).collect())
                .collect();
            embed_ids(&mut embedder, &sequences)
        });
        for (index, (a, b)) in mlx.iter().zip(onnx.iter()).enumerate() {
            // DESIGN's bound for f32.
            let similarity = cosine(a, b);
            assert!(similarity >= 0.99999, "{name}, {index}: {similarity}");
        }
    }
}
