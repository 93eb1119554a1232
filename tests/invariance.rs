//! A text has one vector, whatever it shares a batch with.
#![cfg(any(feature = "mlx", feature = "onnx"))]
#![allow(clippy::unwrap_used)]

mod support;

use qwen3_embedding::{BackendChoice, EmbedOptions, Precision, Prompt};
use support::*;

/// DESIGN's bounds: cosine >= 0.9999 at every precision; in f32 also 1e-5 on normalised elements.
fn assert_same(a: &[f32], b: &[f32], precision: Precision, what: &str) {
    let similarity = cosine(a, b);
    let error = max_abs_error(&normalized(a), &normalized(b));
    assert!(
        similarity >= 0.9999,
        "{what} {precision:?}: cosine {similarity}"
    );
    if precision == Precision::F32 {
        assert!(error <= 1e-5, "{what}: error {error}");
    }
}

/// Sequences of lengths 1 to 40 that share no content.
fn sequences() -> Vec<Vec<u32>> {
    (1..=40u32)
        .map(|length| (0..length).map(|i| (length * 37 + i * 11) % 1500).collect())
        .collect()
}

fn for_each(body: impl Fn(BackendChoice, Precision)) {
    for &backend in BACKENDS {
        for precision in [
            Precision::F32,
            Precision::Bf16,
            Precision::F16,
            Precision::Int8,
        ] {
            if supports(backend, precision) {
                body(backend, precision);
            }
        }
    }
}

#[test]
fn alone_equals_a_ragged_batch() {
    for_each(|backend, precision| {
        let sequences = sequences();
        // One batch holds all: 40 rows of 40.
        let mut embedder = builder(&tiny(), backend, precision)
            .max_batch_tokens(1600)
            .build()
            .unwrap();
        let together = embed_ids(&mut embedder, &sequences);
        for (sequence, row) in sequences.iter().zip(together.iter()) {
            let alone = embed_ids(&mut embedder, std::slice::from_ref(sequence));
            assert_same(row, alone.data(), precision, "ragged");
        }
    });
}

#[test]
fn alone_equals_an_equal_length_batch() {
    for_each(|backend, precision| {
        let sequences: Vec<Vec<u32>> = (0..16u32)
            .map(|row| (0..23).map(|i| (row * 97 + i * 13) % 1500).collect())
            .collect();
        let mut embedder = open(&tiny(), backend, precision);
        let together = embed_ids(&mut embedder, &sequences);
        for (sequence, row) in sequences.iter().zip(together.iter()) {
            let alone = embed_ids(&mut embedder, std::slice::from_ref(sequence));
            assert_same(row, alone.data(), precision, "equal length");
        }
    });
}

#[test]
fn alone_equals_a_batch_that_shares_its_instruction() {
    for_each(|backend, precision| {
        let instruction: Vec<u32> = (0..24).map(|i| (i * 57 + 9) % 1500).collect();
        let queries = sequences().into_iter().step_by(3);
        let sequences: Vec<Vec<u32>> = queries.map(|q| [&*instruction, &q].concat()).collect();
        let mut embedder = open(&tiny(), backend, precision);
        let together = embed_ids(&mut embedder, &sequences);
        for (sequence, row) in sequences.iter().zip(together.iter()) {
            let alone = embed_ids(&mut embedder, std::slice::from_ref(sequence));
            assert_same(row, alone.data(), precision, "one instruction");
        }
    });
}

#[test]
fn micro_batches_of_any_size_give_the_same_rows_in_the_same_order() {
    for &backend in BACKENDS {
        let sequences = sequences();
        let whole = embed_ids(&mut open(&tiny(), backend, Precision::F32), &sequences);
        for tokens in [1, 64, 200] {
            let mut embedder = builder(&tiny(), backend, Precision::F32)
                .max_batch_tokens(tokens)
                .build()
                .unwrap();
            let split = embed_ids(&mut embedder, &sequences);
            for (a, b) in whole.iter().zip(split.iter()) {
                assert_same(a, b, Precision::F32, "split");
            }
        }
    }
}

#[test]
fn a_token_in_the_middle_and_the_order_of_tokens_matter() {
    // The reverse of invariance: a vector that ignores its text would pass everything above.
    for &backend in BACKENDS {
        let mut embedder = open(&tiny(), backend, Precision::F32);
        let rows = embed_ids(
            &mut embedder,
            &[
                vec![5, 6, 7, 8, 12281],
                vec![5, 6, 9, 8, 12281],
                vec![8, 7, 6, 5, 12281],
            ],
        );
        let row = |index| rows.row(index).unwrap();
        assert!(cosine(row(0), row(1)) < 0.999);
        assert!(cosine(row(0), row(2)) < 0.999);
    }
}

#[test]
fn the_token_ids_of_a_text_give_its_vector() {
    for &backend in BACKENDS {
        let mut embedder = builder(&tiny(), backend, Precision::F32).build().unwrap();
        let texts = ["Gravity pulls bodies together.", "capital of China"];
        let options = EmbedOptions::default().prompt(Prompt::Query);
        let ids = embedder.token_ids(&texts, &options).unwrap();
        let of_texts = embedder.embed(&texts, &options).unwrap();
        let lengths: Vec<usize> = ids.iter().map(Vec::len).collect();
        assert_eq!(of_texts.tokens(), lengths);
        let of_ids = embed_ids(&mut embedder, &ids);
        for (of_text, of_id) in of_texts.iter().zip(of_ids.iter()) {
            assert_same(of_text, of_id, Precision::F32, "ids");
        }
    }
}
