//! Directories that hold an ONNX file: the same commands, with the file's own rules.
#![cfg(all(feature = "mlx", feature = "onnx"))]
#![allow(clippy::unwrap_used)]

mod support;

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use support::{numbers, run};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../tests/fixtures/onnx")
        .join(name)
}

fn on(name: &str, args: &[&str]) -> support::Outcome {
    let dir = fixture(name);
    run(&[args, &["--model", dir.to_str().unwrap(), "--device", "cpu"]].concat())
}

#[test]
fn embed_gives_the_references_vectors() {
    for name in [
        "bert-mean",
        "bert-cls",
        "xlm-roberta-mean",
        "gemma",
        "qwen3-f32",
    ] {
        let golden = std::fs::read_to_string(fixture(name).join("golden.json")).unwrap();
        let golden: Value = serde_json::from_str(&golden).unwrap();
        let case = &golden["cases"][3];
        let found = on(
            name,
            &["embed", "--no-normalize", case["text"].as_str().unwrap()],
        )
        .json();
        let (row, hidden) = (numbers(&found["embeddings"][0]), numbers(&case["hidden"]));
        for (a, b) in row.iter().zip(&hidden) {
            // Rounding of f32 on values of about one.
            assert!((a - b).abs() <= 1e-4, "{name}: {a} and {b}");
        }
        assert_eq!(
            found["tokens"],
            json!([case["ids"].as_array().unwrap().len()])
        );
        assert_eq!(found["backend"]["name"], "onnx");
    }
}

#[test]
fn similarity_ranks_with_the_models_own_prompts() {
    let text = "The capital of China is Beijing.";
    let found = on(
        "bert-mean",
        &["similarity", "--format", "json", "--query", text, "a", text],
    );
    let results = found.json()["results"].clone();
    // It declares no prompts, so a text is most like itself.
    assert_eq!(results[0]["text"], text);
    assert!((results[0]["score"].as_f64().unwrap() - 1.0).abs() < 1e-5);
    let refused = on(
        "bert-mean",
        &["similarity", "--query", "x", "--instruct", "Find it", "y"],
    );
    assert_eq!(refused.code, 1);
    assert!(
        refused.stderr.contains("one that the model declares"),
        "{}",
        refused.stderr
    );
}

#[test]
fn info_says_what_the_file_holds() {
    let info = on("gemma", &["info", "--format", "json"]).json();
    let architecture = &info["architecture"];
    assert_eq!(architecture["onnx_file"], "onnx/model.onnx");
    assert_eq!(architecture["pooling"], "graph");
    assert_eq!(architecture["hidden_size"], 16);
    assert_eq!(architecture["context"], 48);
    assert_eq!(architecture["layers"], json!(null));
    assert_eq!(architecture["weight_precision"], "float32");
    let table = on("qwen3-f16", &["info"]);
    let lines: Vec<_> = table.stdout().lines().collect();
    for line in [
        "onnx file    onnx/model_fp16.onnx",
        "pooling      last-token",
    ] {
        assert!(lines.contains(&line), "{line:?} is not in {lines:#?}");
    }
}

#[test]
fn a_file_and_a_pooling_can_be_named() {
    let named = on(
        "bert-mean",
        &[
            "embed",
            "--onnx-file",
            "model.onnx",
            "--pooling",
            "mean",
            "x",
        ],
    );
    assert_eq!(named.code, 0, "{}", named.stderr);
    let refused = on("bert-mean", &["embed", "--pooling", "cls", "x"]);
    assert_eq!(refused.code, 1);
    assert!(
        refused
            .stderr
            .contains("pooling: expected mean, which is the model's own, found cls"),
        "{}",
        refused.stderr
    );
    assert_eq!(
        on("bert-mean", &["embed", "--onnx-file", "../x.onnx", "x"]).code,
        1
    );
}
