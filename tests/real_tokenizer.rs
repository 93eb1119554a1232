//! The released models' tokenizer: ids as published, EOS, prompt and truncation, seen through the
//! embedder: a text's vector must be that of the published ids.
//!
//! The tokenizer is too large for the repository. It is taken from the folder that
//! `QWEN3_TOKENIZER_DIR` names, else from `../shared/data/qwen3-tokenizer`; where neither is, the
//! test says that it was skipped.
#![cfg(any(feature = "mlx", feature = "onnx"))]
#![allow(clippy::unwrap_used)]

mod support;

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Once;

use qwen3_embedding::{Embedder, Precision, Prompt, Truncation};
use serde_json::json;
use support::*;
use tempfile::TempDir;

const EOS: u32 = 151_643;

fn tokenizer_dir() -> Option<PathBuf> {
    let named = std::env::var_os("QWEN3_TOKENIZER_DIR").filter(|dir| !dir.is_empty());
    let usual = || root().join("../shared/data/qwen3-tokenizer");
    let dir = named.map_or_else(usual, PathBuf::from);
    let found = dir.join("tokenizer.json").is_file();
    if !found {
        static SAID: Once = Once::new();
        let dir = dir.display();
        let line = format!("skipped: {dir} holds no tokenizer.json; set QWEN3_TOKENIZER_DIR\n");
        // Not eprintln!, which the test harness keeps to itself when a test passes.
        SAID.call_once(|| io::stderr().write_all(line.as_bytes()).unwrap());
    }
    found.then_some(dir)
}

/// A model with the released vocabulary and weights small enough for a test: one layer, width 8.
/// Each token has an embedding of its own, so other ids give another vector.
fn model(dir: &std::path::Path, rows: usize) -> TempDir {
    let model = TempDir::new().unwrap();
    let config = json!({
        "model_type": "qwen3", "hidden_act": "silu", "attention_bias": false,
        "hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1,
        "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 8, "vocab_size": rows,
        "max_position_embeddings": 4096, "rms_norm_eps": 1e-6, "rope_theta": 1e6,
        "tie_word_embeddings": true,
    });
    fs::write(model.path().join("config.json"), config.to_string()).unwrap();
    fs::copy(
        dir.join("tokenizer.json"),
        model.path().join("tokenizer.json"),
    )
    .unwrap();
    let shapes: [(&str, &[usize]); 13] = [
        ("embed_tokens.weight", &[rows, 8]),
        ("norm.weight", &[8]),
        ("layers.0.input_layernorm.weight", &[8]),
        ("layers.0.post_attention_layernorm.weight", &[8]),
        ("layers.0.self_attn.q_proj.weight", &[16, 8]),
        ("layers.0.self_attn.k_proj.weight", &[8, 8]),
        ("layers.0.self_attn.v_proj.weight", &[8, 8]),
        ("layers.0.self_attn.o_proj.weight", &[8, 16]),
        ("layers.0.self_attn.q_norm.weight", &[8]),
        ("layers.0.self_attn.k_norm.weight", &[8]),
        ("layers.0.mlp.gate_proj.weight", &[8, 8]),
        ("layers.0.mlp.up_proj.weight", &[8, 8]),
        ("layers.0.mlp.down_proj.weight", &[8, 8]),
    ];
    // A fixed sequence of distinct values in -1..1 (the fractional part of multiples of an
    // irrational number).
    let mut position = 0u32;
    let mut next = || {
        position += 1;
        ((f64::from(position) * 0.618_033_988_749_895).fract() * 2.0 - 1.0) as f32
    };
    let data: Vec<Vec<u8>> = shapes
        .iter()
        .map(|(_, shape)| {
            (0..shape.iter().product())
                .flat_map(|_: usize| next().to_le_bytes())
                .collect()
        })
        .collect();
    let views = shapes.iter().zip(&data).map(|((name, shape), data)| {
        let dtype = safetensors::Dtype::F32;
        let view = safetensors::tensor::TensorView::new(dtype, shape.to_vec(), data).unwrap();
        (*name, view)
    });
    let file = model.path().join("model.safetensors");
    safetensors::serialize_to_file(views, None, &file).unwrap();
    model
}

fn assert_reads_as(embedder: &mut Embedder, text: &str, prompt: Prompt, ids: &[u32]) {
    let found = embedder.embed(&[text], &raw().prompt(prompt)).unwrap();
    assert_eq!(found.tokens(), [ids.len()], "{text:?}");
    let expected = embedder.embed_token_ids(&[ids], &raw()).unwrap();
    assert_eq!(found.data(), expected.data(), "{text:?}");
}

#[test]
fn ids_are_the_published_ones() {
    let Some(dir) = tokenizer_dir() else { return };
    let model = model(&dir, 151_669);
    let mut embedder = open(model.path(), BACKENDS[0], Precision::F32);
    assert_eq!(embedder.eos_token_id(), EOS);

    let inputs = fs::read_to_string(dir.join("texts.inp")).unwrap();
    let outputs = fs::read_to_string(dir.join("texts.out")).unwrap();
    let texts = inputs.split("\n__ggml_vocab_test__\n");
    let mut seen = 0;
    for (text, line) in texts.zip(outputs.lines()) {
        let ids = line.split_whitespace().map(|id| id.parse().unwrap());
        let ids: Vec<u32> = ids.chain([EOS]).collect();
        assert_reads_as(&mut embedder, text, Prompt::Document, &ids);
        seen += 1;
    }
    assert_eq!(seen, 46);
    assert_reads_as(
        &mut embedder,
        "Hello, world!",
        Prompt::Document,
        &[9707, 11, 1879, 0, EOS],
    );
    assert_reads_as(&mut embedder, "", Prompt::Document, &[EOS]);
}

#[test]
fn a_query_is_the_template_and_the_text_without_a_space() {
    let Some(dir) = tokenizer_dir() else { return };
    let model = model(&dir, 151_669);
    let mut embedder = open(model.path(), BACKENDS[0], Precision::F32);
    let task = "Given a web search query, retrieve relevant passages that answer the query";
    let whole = format!("Instruct: {task}\nQuery:What is the capital of China?");
    let query = raw().prompt(Prompt::Query);
    let a = embedder.embed(&["What is the capital of China?"], &query);
    let b = embedder.embed(&[&whole], &raw());
    assert_eq!(a.unwrap(), b.unwrap());
}

#[test]
fn truncation_keeps_the_first_tokens_and_eos() {
    let Some(dir) = tokenizer_dir() else { return };
    let model = model(&dir, 151_669);
    let mut embedder = open(model.path(), BACKENDS[0], Precision::F32);
    let options = raw().max_tokens(3).truncation(Truncation::End);
    let cut = embedder.embed(&["Hello, world!"], &options).unwrap();
    let expected = embedder.embed_token_ids(&[&[9707, 11, EOS]], &raw());
    assert_eq!(cut.truncated(), [true]);
    assert_eq!(cut.data(), expected.unwrap().data());
}

#[test]
fn the_embedding_table_of_the_4b_and_8b_takes_this_tokenizer() {
    let Some(dir) = tokenizer_dir() else { return };
    let model = model(&dir, 151_665);
    let mut embedder = open(model.path(), BACKENDS[0], Precision::F32);
    assert_reads_as(
        &mut embedder,
        "Hello, world!",
        Prompt::Document,
        &[9707, 11, 1879, 0, EOS],
    );
    assert!(embedder.embed(&["<think>"], &raw()).unwrap().tokens()[0] > 2);
}
