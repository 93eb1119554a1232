//! Vectors equal those of transformers in f32, over many shapes and ways of storing them.
#![cfg(any(feature = "mlx", feature = "onnx"))]
#![allow(clippy::unwrap_used)]

mod support;

use qwen3_embedding::{BackendChoice, Precision};
use support::*;

/// DESIGN's bounds for a precision: least cosine, and the largest error of a normalised element.
fn bounds(precision: Precision) -> (f64, f32) {
    match precision {
        Precision::F32 => (0.99999, 1e-4),
        Precision::Int8 => (0.99, f32::INFINITY),
        _ => (0.999, f32::INFINITY),
    }
}

fn check(name: &str, dir: &std::path::Path, backend: BackendChoice, precision: Precision) {
    let goldens = goldens(dir);
    let model = if dir.join("tokenizer.json").exists() {
        copy_dir(dir)
    } else {
        with_tokenizer(dir)
    };
    let mut embedder = open(model.path(), backend, precision);
    let sequences: Vec<_> = goldens.iter().map(|golden| golden.ids.clone()).collect();
    let vectors = embed_ids(&mut embedder, &sequences);
    let (least_cosine, most_error) = bounds(precision);
    for (golden, row) in goldens.iter().zip(vectors.iter()) {
        let similarity = cosine(row, &golden.hidden);
        let error = max_abs_error(&normalized(row), &normalized(&golden.hidden));
        assert!(
            similarity >= least_cosine && error <= most_error,
            "{name}, {} tokens, {precision:?}: cosine {similarity}, error {error}",
            golden.ids.len()
        );
    }
}

fn check_fixtures(precision: Precision) {
    let fixtures = fixtures();
    assert!(fixtures.len() >= 20, "only {} fixtures", fixtures.len());
    for &backend in BACKENDS.iter().filter(|b| supports(**b, precision)) {
        for (name, dir) in &fixtures {
            check(name, dir, backend, precision);
        }
    }
}

#[test]
fn the_built_in_model_equals_the_reference() {
    for precision in [
        Precision::F32,
        Precision::Bf16,
        Precision::F16,
        Precision::Int8,
    ] {
        for &backend in BACKENDS.iter().filter(|b| supports(**b, precision)) {
            check("tiny", &tiny(), backend, precision);
        }
    }
}

#[test]
fn f32_equals_the_reference_on_every_configuration() {
    check_fixtures(Precision::F32);
}

#[test]
fn bf16_is_close_to_the_reference_on_every_configuration() {
    check_fixtures(Precision::Bf16);
}

#[test]
fn f16_is_close_to_the_reference_on_every_configuration() {
    check_fixtures(Precision::F16);
}

#[test]
fn int8_is_close_to_the_reference_on_every_configuration() {
    check_fixtures(Precision::Int8);
}
