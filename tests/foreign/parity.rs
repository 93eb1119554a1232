//! Every layout gives the vectors of transformers on the same weights.

use std::path::PathBuf;

use qwen3_embedding::{BackendChoice, Dtype, Embedder, Pooling, Precision, Prompt};

use crate::support::*;

/// The fixtures: what runs, how it pools, and DESIGN's least cosine for its precision.
pub(crate) const LAYOUTS: [(&str, Dtype, Pooling, f64); 6] = [
    ("bert-mean", Dtype::F32, Pooling::Mean, 0.99999),
    ("bert-cls", Dtype::F32, Pooling::Cls, 0.99999),
    ("xlm-roberta-mean", Dtype::F32, Pooling::Mean, 0.99999),
    ("gemma", Dtype::F32, Pooling::Graph, 0.99999),
    ("qwen3-f32", Dtype::F32, Pooling::LastToken, 0.99999),
    ("qwen3-f16", Dtype::F16, Pooling::LastToken, 0.999),
];

pub(crate) fn layout(name: &str) -> PathBuf {
    root().join("tests/fixtures/onnx").join(name)
}

pub(crate) fn open_layout(name: &str) -> Embedder {
    open(&layout(name), BackendChoice::Auto, Precision::Auto)
}

fn prompt(golden: &Golden) -> Prompt {
    match golden.case["prompt"].as_str().unwrap() {
        "document" => Prompt::Document,
        "query" => Prompt::Query,
        other => panic!("{other}"),
    }
}

#[test]
fn every_golden_text_has_the_references_vector_and_token_count() {
    for (name, precision, pooling, least) in LAYOUTS {
        let mut embedder = open_layout(name);
        assert_eq!(embedder.config().pooling(), pooling, "{name}");
        assert_eq!(embedder.backend().precision, precision, "{name}");
        assert_eq!(embedder.backend().backend, "onnx");
        let goldens = goldens(&layout(name));
        assert!(goldens.len() >= 8, "{name}: {}", goldens.len());
        for golden in goldens {
            let text = golden.case["text"].as_str().unwrap();
            let options = raw().prompt(prompt(&golden));
            let found = embedder.embed(&[text], &options).unwrap();
            assert_eq!(found.tokens(), [golden.ids.len()], "{name}: {text:?}");
            let similarity = cosine(found.data(), &golden.hidden);
            assert!(similarity >= least, "{name}: {text:?}: {similarity}");
        }
    }
}

#[test]
fn token_ids_and_one_batch_of_all_texts_give_them_too() {
    for (name, _, _, least) in LAYOUTS {
        let mut embedder = open_layout(name);
        let goldens = goldens(&layout(name));
        let sequences: Vec<_> = goldens.iter().map(|golden| golden.ids.clone()).collect();
        let rows = embed_ids(&mut embedder, &sequences);
        for (golden, row) in goldens.iter().zip(rows.iter()) {
            let similarity = cosine(row, &golden.hidden);
            assert!(
                similarity >= least,
                "{name}: {:?}: {similarity}",
                golden.ids
            );
        }
    }
}

#[test]
fn f32_vectors_are_the_references_to_the_last_digits() {
    for (name, precision, ..) in LAYOUTS {
        if precision != Dtype::F32 {
            continue;
        }
        let mut embedder = open_layout(name);
        for golden in goldens(&layout(name)) {
            let row = embed_ids(&mut embedder, std::slice::from_ref(&golden.ids));
            // DESIGN's bound for elements of a normalised vector in f32.
            let error = max_abs_error(&normalized(row.data()), &normalized(&golden.hidden));
            assert!(error <= 1e-4, "{name}: {error}");
        }
    }
}

#[test]
fn sizes_are_those_of_the_file() {
    let embedder = open_layout("xlm-roberta-mean");
    let config = embedder.config();
    assert_eq!(config.hidden_size(), 16);
    // Two of the 50 positions stand before the first token's.
    assert_eq!(config.context(), 48);
    assert!(config.qwen3().is_none());
}
