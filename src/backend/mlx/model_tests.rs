//! What runs behind a prefix, or in pieces, gives the rows of one pass.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

use super::admission_tests::TURN;
use super::ffi::bridge::{self, DeviceKind, ElementType};
use super::model::{Model, Route};
use super::past::Past;
use super::qwen3::Qwen3;
use super::weights::Weights;
use crate::backend::admission::Attention;
use crate::backend::prefix_cache::PrefixCache;
use crate::backend::{HiddenRows, Work};
use crate::batch::TokenBatch;
use crate::checkpoint::Checkpoint;
use crate::config::ModelConfig;

/// Every shape and packing that there is a fixture of, and the built-in model.
fn models() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders = ["tests/fixtures/parity", "tests/fixtures/mlx"];
    let fixtures = folders.map(|folder| fs::read_dir(root.join(folder)).unwrap());
    let fixtures = fixtures
        .into_iter()
        .flatten()
        .map(|entry| entry.unwrap().path());
    fixtures.chain([root.join("models/tiny")]).collect()
}

pub(super) fn load(dir: &Path, prefix_bytes: usize) -> Model {
    let config = ModelConfig::from_file(&dir.join("config.json")).unwrap();
    let checkpoint = Checkpoint::open(dir, &config).unwrap();
    bridge::disable_compile().unwrap();
    let weights = Weights {
        checkpoint: &checkpoint,
        device: DeviceKind::Cpu,
        element_type: ElementType::F32,
    };
    Model {
        qwen3: Qwen3::load(&weights, &config).unwrap(),
        prefixes: PrefixCache::new(prefix_bytes, Past::token_bytes(&config, 4)),
        precision: ElementType::F32,
        work: Work::default(),
        config,
    }
}

/// Sequences of these lengths which begin with the same `shared` tokens.
fn batch(model: &Model, shared: usize, lengths: &[usize]) -> TokenBatch {
    let vocab = model.config.vocab_size();
    let id = |row: usize, token: usize| match token {
        token if token < shared => (token * 31 + 5) % vocab,
        _ => (row * 131 + token * 17 + 3) % vocab,
    };
    let sequences: Vec<Vec<u32>> = lengths
        .iter()
        .enumerate()
        .map(|(row, &length)| (0..length).map(|token| id(row, token) as u32).collect())
        .collect();
    let sequences: Vec<&[u32]> = sequences.iter().map(Vec::as_slice).collect();
    TokenBatch::new(&sequences, vocab).unwrap()
}

fn run(model: &mut Model, batch: &TokenBatch, route: Route) -> HiddenRows {
    let begun = model.begin(batch, route, ElementType::F32).unwrap();
    begun.read().unwrap()
}

/// The invariance bound of f32: cosine >= 0.9999 and 1e-5 on normalised elements.
fn assert_same(a: &HiddenRows, b: &HiddenRows, what: &str) {
    assert_eq!(a.data.len(), b.data.len());
    for (a, b) in a.rows().zip(b.rows()) {
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
        let [norm_a, norm_b] = [dot(a, a).sqrt(), dot(b, b).sqrt()];
        let cosine = dot(a, b) / (norm_a * norm_b);
        assert!(cosine >= 0.9999, "{what}: cosine {cosine}");
        for (a, b) in a.iter().zip(b) {
            assert!((a / norm_a - b / norm_b).abs() <= 1e-5, "{what}: {a} {b}");
        }
    }
}

#[test]
fn a_batch_behind_its_prefix_equals_one_pass_and_computes_it_once() {
    let _turn = TURN.lock();
    for dir in models() {
        let mut model = load(&dir, 1 << 30);
        for (shared, lengths) in [(1, &[2][..]), (9, &[10, 17, 30, 11]), (40, &[41, 45, 44])] {
            let batch = batch(&model, shared, lengths).with_prefix(shared);
            let whole = run(&mut model, &batch, Route::Once);
            let route = model.route(&batch, ElementType::F32, Attention::Stored);
            assert_eq!(route, Route::Behind(shared));
            // Computed and kept, then found.
            for computed in [1, 0] {
                let before = model.work();
                let found = run(&mut model, &batch, route);
                assert_same(
                    &whole,
                    &found,
                    &format!("{}, {shared} shared", dir.display()),
                );
                let rest = batch.rows() * (batch.width() - shared);
                let padding = batch.rows() * batch.width() - lengths.iter().sum::<usize>();
                let saved = (batch.rows() - computed) * shared;
                let expected = Work {
                    computed_tokens: before.computed_tokens + (rest + computed * shared) as u64,
                    padding_tokens: before.padding_tokens + padding as u64,
                    saved_tokens: before.saved_tokens + saved as u64,
                    prefix_hits: before.prefix_hits + 1 - computed as u64,
                    prefix_misses: before.prefix_misses + computed as u64,
                    prefix_bytes: model.prefixes.bytes(),
                };
                assert_eq!(model.work(), expected);
            }
        }
    }
}

#[test]
fn sequences_in_pieces_equal_one_pass() {
    let _turn = TURN.lock();
    for dir in models() {
        let mut model = load(&dir, 0);
        let batch = batch(&model, 0, &[17, 3, 32, 77]);
        let whole = run(&mut model, &batch, Route::Once);
        for piece in [16, 100] {
            let pieces = run(&mut model, &batch, Route::Pieces(piece));
            assert_same(&whole, &pieces, &format!("{}, {piece}", dir.display()));
        }
    }
}

#[test]
fn a_batch_takes_the_route_that_its_lengths_and_its_prefix_make_worth_while() {
    let _turn = TURN.lock();
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/parity/gqa-4-2");
    let model = load(&dir, 1 << 16);
    let batch = |shared, lengths: &[usize]| batch(&model, shared, lengths).with_prefix(shared);
    let route = |shared, lengths: &[usize], attention| {
        model.route(&batch(shared, lengths), ElementType::F32, attention)
    };
    use Attention::{Fused, Stored};
    assert_eq!(route(0, &[512, 3], Stored), Route::Once);
    assert_eq!(route(0, &[513], Stored), Route::Pieces(512));
    assert_eq!(route(0, &[2048], Fused), Route::Once);
    assert_eq!(route(20, &[2049], Fused), Route::Pieces(2048));
    assert_eq!(route(20, &[28, 30], Stored), Route::Behind(20));
    // 256 bytes a layer and token, and two layers: what does not fit is not kept.
    assert_eq!(route(128, &[130], Stored), Route::Behind(128));
    assert_eq!(route(129, &[130], Stored), Route::Once);
    // Prefixes are in the model's precision, and another try is not.
    let second = model.route(&batch(20, &[28]), ElementType::Bf16, Stored);
    assert_eq!(second, Route::Once);
}

#[test]
fn memory_of_a_long_sequence_grows_with_its_length_only() {
    let _turn = TURN.lock();
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/parity/gqa-8-2");
    let mut model = load(&dir, 0);
    let mut peak = |tokens: usize| {
        let batch = batch(&model, 0, &[tokens]);
        let route = Route::Pieces(64);
        let need = model.need(&batch, route, Attention::Stored);
        bridge::reset_peak_memory().unwrap();
        let before = bridge::active_memory().unwrap();
        run(&mut model, &batch, route);
        let used = bridge::peak_memory().unwrap() - before;
        assert!(
            need.check(Some(used), "").is_err(),
            "{used} bytes, more than {need:?}"
        );
        used
    };
    let (short, long) = (peak(1024), peak(4096));
    assert!(long < 4 * short + short / 2, "{short} bytes, then {long}");
}
