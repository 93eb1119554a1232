//! A text has one vector, whatever it shares a batch with; a graph that breaks this runs alone.

use std::fs;

use qwen3_embedding::{BackendChoice, Precision};

use crate::onnx::overwrite;
use crate::parity::{LAYOUTS, layout, open_layout};
use crate::support::*;

/// Sequences of lengths 1 to 40 that share no content and hold the pad id too.
fn sequences(vocabulary: u32) -> Vec<Vec<u32>> {
    (1..=40u32)
        .map(|length| {
            (0..length)
                .map(|i| (length * 37 + i * 11) % vocabulary)
                .collect()
        })
        .collect()
}

#[test]
fn alone_equals_equal_length_and_ragged_batches() {
    for (name, ..) in LAYOUTS {
        let mut embedder = builder(&layout(name), BackendChoice::Auto, Precision::Auto)
            .max_batch_tokens(1600)
            .build()
            .unwrap();
        assert!(
            !embedder.backend().reason.contains("one text at a time"),
            "{name}"
        );
        let mut sequences = sequences(embedder.config().vocab_size() as u32);
        if name == "xlm-roberta-mean" {
            // Its positions are counted from the ids that are not the pad id, in the graph.
            sequences
                .iter_mut()
                .flatten()
                .filter(|id| **id == 1)
                .for_each(|id| *id = 7);
        }
        let ragged = embed_ids(&mut embedder, &sequences);
        for (sequence, row) in sequences.iter().zip(ragged.iter()) {
            let alone = embed_ids(&mut embedder, std::slice::from_ref(sequence));
            let twice = embed_ids(&mut embedder, &[sequence.clone(), sequence.clone()]);
            for other in [alone.data(), twice.row(1).unwrap()] {
                // DESIGN's bound for invariance.
                let similarity = cosine(row, other);
                assert!(
                    similarity >= 0.9999,
                    "{name}: {} tokens: {similarity}",
                    sequence.len()
                );
            }
        }
    }
}

#[test]
fn the_middle_and_the_order_of_a_text_matter() {
    for (name, ..) in LAYOUTS {
        let mut embedder = open_layout(name);
        let rows = embed_ids(
            &mut embedder,
            &[
                vec![5, 26, 37, 48, 2],
                vec![5, 26, 39, 48, 2],
                vec![26, 5, 37, 48, 2],
            ],
        );
        let row = |index| rows.row(index).unwrap();
        assert!(cosine(row(0), row(1)) < 0.999, "{name}");
        assert!(cosine(row(0), row(2)) < 0.999, "{name}");
    }
}

#[test]
fn a_graph_that_lets_padding_in_runs_one_text_at_a_time() {
    // What the mask adds where there is padding becomes nothing.
    let copy = copy_dir(&layout("bert-mean"));
    let path = copy.path().join("model.onnx");
    let lowest = f32::MIN.to_le_bytes();
    let file = fs::read(&path).unwrap();
    let at = file.windows(4).position(|bytes| bytes == lowest).unwrap();
    overwrite(&path, at, &[0; 4]);
    let mut embedder = open(copy.path(), BackendChoice::Auto, Precision::Auto);
    assert!(embedder.backend().reason.ends_with("one text at a time"));
    let goldens = goldens(&layout("bert-mean"));
    let sequences: Vec<_> = goldens.iter().map(|golden| golden.ids.clone()).collect();
    let rows = embed_ids(&mut embedder, &sequences);
    for (golden, row) in goldens.iter().zip(rows.iter()) {
        assert!(cosine(row, &golden.hidden) >= 0.99999);
    }
}
