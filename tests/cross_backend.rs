//! The same checkpoint gives the same vectors on every backend.
#![cfg(all(feature = "mlx", feature = "onnx"))]
#![allow(clippy::unwrap_used)]

mod support;

use std::fs;
use std::path::Path;

use qwen3_embedding::{BackendChoice, Precision};
use serde_json::Value;
use support::*;

/// Of these lengths, none sharing content.
fn sequences(lengths: &[u32]) -> Vec<Vec<u32>> {
    let sequence = |length: u32| (0..length).map(|i| (length * 41 + i * 17) % 96).collect();
    lengths.iter().map(|&length| sequence(length)).collect()
}

/// Queries behind one instruction, enough of them for it to be computed once.
fn behind_one_instruction() -> Vec<Vec<u32>> {
    let instruction: Vec<u32> = (0..20).map(|i| (7 + i * 13) % 96).collect();
    let queries = sequences(&[1, 9, 2, 17, 5, 12]).into_iter();
    queries
        .map(|query| [&*instruction, &query].concat())
        .collect()
}

#[test]
fn mlx_and_onnx_runtime_agree_in_f32() {
    agree(&sequences(&[1, 33, 2, 17, 5, 9, 28]));
}

#[test]
fn they_agree_on_texts_long_enough_for_another_attention() {
    agree(&sequences(&[257, 12]));
}

#[test]
fn they_agree_on_queries_behind_one_instruction() {
    agree(&behind_one_instruction());
}

fn agree(sequences: &[Vec<u32>]) {
    let tiny = ("tiny".to_owned(), tiny());
    for (name, dir) in fixtures().into_iter().chain([tiny]) {
        let model = with_tokenizer(&dir);
        lengthen_context(model.path());
        let [mlx, onnx] = [BackendChoice::Mlx, BackendChoice::Onnx].map(|backend| {
            let mut embedder = open(model.path(), backend, Precision::F32);
            let rows = embedder.config().vocab_size() as u32;
            let sequences: Vec<Vec<u32>> = sequences
                .iter()
                .map(|ids| ids.iter().map(|id| id % rows).collect())
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

/// Lets the model in `dir` take 512 tokens; nothing it computes depends on that number.
fn lengthen_context(dir: &Path) {
    let path = dir.join("config.json");
    let mut config: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    config["max_position_embeddings"] = 512.into();
    fs::write(&path, config.to_string()).unwrap();
}
