//! A vector is finite and not zero, or the call is an error that names the input.
#![cfg(any(feature = "mlx", feature = "onnx"))]
#![allow(clippy::unwrap_used)]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use qwen3_embedding::{EmbedOptions, Precision};
use support::*;
use tracing::span;

/// Counts events; the second try is announced by one.
#[derive(Clone, Default)]
struct Events(Arc<AtomicUsize>);

impl tracing::Subscriber for Events {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.target() == "qwen3_embedding::embedder::runner"
    }
    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }
    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn event(&self, _: &tracing::Event<'_>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

/// The built-in model after `edit` changed its weights.
fn tiny_with(edit: impl FnMut(&str, &mut [f32])) -> tempfile::TempDir {
    let model = copy_dir(&tiny());
    edit_weights(model.path(), edit);
    model
}

#[test]
fn what_overflows_f16_is_run_again_in_f32() {
    // The product of the last layer's down_proj passes 65504, the largest f16; its weights do not.
    let model = tiny_with(|name, values| {
        let factor = match name {
            "layers.2.mlp.down_proj.weight" => 3e4,
            "layers.2.post_attention_layernorm.weight" => 20.0,
            _ => 1.0,
        };
        values.iter_mut().for_each(|value| *value *= factor);
    });
    let texts = ["Hello, world!", "What is the capital of China?"];
    let options = EmbedOptions::default();
    for &backend in BACKENDS.iter().filter(|b| supports(**b, Precision::F16)) {
        let expected = open(model.path(), backend, Precision::F32)
            .embed(&texts, &options)
            .unwrap();
        // Together in one batch, and each in a batch of its own.
        for tokens in [64, 1] {
            let half = builder(model.path(), backend, Precision::F16).max_batch_tokens(tokens);
            let mut half = half.build().unwrap();
            let events = Events::default();
            let found = tracing::subscriber::with_default(events.clone(), || {
                half.embed(&texts, &options).unwrap()
            });
            assert_eq!(events.0.load(Ordering::Relaxed), texts.len());
            for (a, b) in found.iter().zip(expected.iter()) {
                // Weights are f16, arithmetic is f32: DESIGN's bound for f16.
                assert!(cosine(a, b) >= 0.999);
            }
        }
    }
}

#[test]
fn weights_that_are_not_numbers_give_an_error_for_the_first_input_reached() {
    let model = tiny_with(|name, values| {
        if name == "norm.weight" {
            values[3] = f32::NAN;
        }
    });
    for &backend in BACKENDS {
        let mut embedder = open(model.path(), backend, Precision::F32);
        let error = embedder.embed(&["a"], &EmbedOptions::default());
        assert_eq!(
            error.unwrap_err().to_string(),
            "input 0: the model gave NaN instead of a finite non-zero vector, also alone in f32"
        );
    }
}

#[test]
fn a_zero_vector_is_an_error_also_when_only_the_cut_is_zero() {
    let model = tiny_with(|name, values| {
        if name == "norm.weight" {
            values[..8].fill(0.0);
        }
    });
    for &backend in BACKENDS {
        let mut embedder = open(model.path(), backend, Precision::F32);
        let cut = EmbedOptions::default().dimensions(8);
        assert_eq!(
            embedder.embed(&["a"], &cut).unwrap_err().to_string(),
            "input 0: the model gave a zero vector instead of a finite non-zero vector, also alone in f32"
        );
        embedder.embed(&["a"], &cut.dimensions(9)).unwrap();
    }
}
