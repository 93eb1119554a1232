//! The built-in model is trained: what belongs together lies together, on every backend.
#![cfg(any(feature = "mlx", feature = "onnx"))]
#![allow(clippy::unwrap_used)]

mod support;

use std::fs;

use qwen3_embedding::{BackendChoice, EmbedOptions, Embedder, Precision, Prompt};
use serde::Deserialize;
use support::*;

/// A query, the document that answers it, and three that do not.
#[derive(Deserialize)]
struct Set {
    query: String,
    right: String,
    wrong: [String; 3],
}

fn sets() -> Vec<Set> {
    let text = fs::read_to_string(root().join("models/train/sets.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn for_each(body: impl Fn(&mut Embedder, BackendChoice, Precision)) {
    for &backend in BACKENDS {
        for precision in [
            Precision::F32,
            Precision::Bf16,
            Precision::F16,
            Precision::Int8,
        ] {
            if supports(backend, precision) {
                body(&mut open(&tiny(), backend, precision), backend, precision);
            }
        }
    }
}

/// The index of the document that is nearest to the query.
fn nearest(embedder: &mut Embedder, query: &str, documents: &[&str], dimensions: usize) -> usize {
    let options = EmbedOptions::default().dimensions(dimensions);
    let documents = embedder.embed(documents, &options).unwrap();
    let query = embedder
        .embed(&[query], &options.prompt(Prompt::Query))
        .unwrap();
    let scores = documents.iter().map(|row| cosine(row, query.data()));
    let best = scores.enumerate().max_by(|a, b| a.1.total_cmp(&b.1));
    best.unwrap().0
}

#[test]
fn the_model_cards_queries_find_their_documents_at_every_mrl_size() {
    // The four sentences of the released models' card are the first two sets.
    let sets = sets();
    let documents = [sets[0].right.as_str(), sets[1].right.as_str()];
    for_each(|embedder, backend, precision| {
        for dimensions in [192, 96, 48, 24] {
            for (index, set) in sets[..2].iter().enumerate() {
                let found = nearest(embedder, &set.query, &documents, dimensions);
                assert_eq!(found, index, "{backend:?} {precision:?} {dimensions}");
            }
        }
    });
}

#[test]
fn hand_written_queries_find_their_documents() {
    let sets = sets();
    assert_eq!(sets.len(), 30);
    for_each(|embedder, backend, precision| {
        let found = |embedder: &mut Embedder, set: &Set| {
            let wrong = set.wrong.iter().map(String::as_str);
            let documents: Vec<_> = [set.right.as_str()].into_iter().chain(wrong).collect();
            nearest(embedder, &set.query, &documents, 192) == 0
        };
        let right = sets.iter().filter(|set| found(embedder, set)).count();
        // transformers in f32 finds 26; chance is 7.5, and fewer bits may turn a close decision.
        let expected = if precision == Precision::F32 { 26 } else { 25 };
        assert!(
            right >= expected,
            "{backend:?} {precision:?}: {right} of 30"
        );
    });
}
