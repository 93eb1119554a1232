//! What runs in parts, or by another operator, gives the rows of one pass by the standard one.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

use super::graph::Form;
use super::library;
use super::maker::Maker;
use super::model::{Model, Route};
use super::providers::Provider;
use super::threads::Threads;
use super::weights::FloatWeights;
use super::{Loaded, Options, Undecided};
use crate::backend::execution_provider::ExecutionProvider;
use crate::backend::tuning::{Choices, Tuner};
use crate::backend::{DeviceKind, HiddenRows, Precision};
use crate::batch::TokenBatch;
use crate::checkpoint::Checkpoint;
use crate::config::ModelConfig;
use crate::dtype::Dtype;

/// Every shape that there is a fixture of, and the built-in model.
fn models() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let fixtures = fs::read_dir(root.join("tests/fixtures/parity")).unwrap();
    let paths = fixtures.map(|entry| entry.unwrap().path());
    let fixtures = paths.filter(|path| path.is_dir());
    fixtures.chain([root.join("models/tiny")]).collect()
}

fn load(dir: &Path) -> (ModelConfig, Model) {
    let config = ModelConfig::from_file(&dir.join("config.json")).unwrap();
    let checkpoint = Checkpoint::open(dir, &config).unwrap();
    let library = library::load(None).unwrap();
    let weights = FloatWeights::shared(&checkpoint, Dtype::F32).unwrap();
    let options = Options::default();
    let threads = Threads::of(&options).unwrap();
    let provider = Provider::new(ExecutionProvider::Cpu, Dtype::F32, &options);
    let maker = Maker {
        library,
        config: &config,
        provider: &provider,
        threads: &threads,
    };
    let model = Model::shared(maker, weights).unwrap();
    (config, model)
}

/// As an accelerator has it, but on the processor.
fn load_whole(dir: &Path) -> Model {
    let config = ModelConfig::from_file(&dir.join("config.json")).unwrap();
    let checkpoint = Checkpoint::open(dir, &config).unwrap();
    let options = Options::default();
    let maker = Maker {
        library: library::load(None).unwrap(),
        config: &config,
        provider: &Provider::new(ExecutionProvider::Cpu, Dtype::F32, &options),
        threads: &Threads::of(&options).unwrap(),
    };
    let mut weights = FloatWeights::own(&checkpoint, Dtype::F32).unwrap();
    Model::whole(maker, &mut weights).unwrap()
}

fn load_int8(dir: &Path) -> (ModelConfig, Model) {
    let config = ModelConfig::from_file(&dir.join("config.json")).unwrap();
    let checkpoint = Checkpoint::open(dir, &config).unwrap();
    let options = Options {
        // No directory can be made below a file: nothing is kept.
        quantized_cache: Some(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml/quantized")),
        ..Options::default()
    };
    let library = library::load(None).unwrap();
    let undecided = Undecided {
        tuner: &Tuner::off(),
        choices: Choices::new(DeviceKind::Cpu, Precision::Int8, None),
    };
    let loaded = Loaded::int8(library, &config, &checkpoint, &options, undecided).unwrap();
    (config, loaded.model)
}

/// Sequences of these lengths which begin with the same `shared` tokens.
fn batch(config: &ModelConfig, shared: usize, lengths: &[usize]) -> TokenBatch {
    let vocab = config.vocab_size();
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

/// The invariance bound of f32: cosine >= 0.9999 and 1e-5 on normalised elements.
fn assert_same(a: &HiddenRows, b: &HiddenRows, what: &str) {
    assert_within(a, b, 1e-5, what);
}

/// Cosine >= 0.9999, and `most` on normalised elements.
fn assert_within(a: &HiddenRows, b: &HiddenRows, most: f32, what: &str) {
    assert_eq!(a.data.len(), b.data.len());
    for (a, b) in a.rows().zip(b.rows()) {
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
        let [norm_a, norm_b] = [dot(a, a).sqrt(), dot(b, b).sqrt()];
        let cosine = dot(a, b) / (norm_a * norm_b);
        assert!(cosine >= 0.9999, "{what}: cosine {cosine}");
        for (a, b) in a.iter().zip(b) {
            assert!((a / norm_a - b / norm_b).abs() <= most, "{what}: {a} {b}");
        }
    }
}

#[test]
fn a_batch_after_its_shared_prefix_equals_one_pass() {
    for dir in models() {
        let (config, model) = load(&dir);
        let mut model = model.keeping(1 << 30);
        for (shared, lengths) in [(1, &[2][..]), (9, &[10, 17, 30, 11]), (40, &[41, 45, 44])] {
            let batch = batch(&config, shared, lengths);
            let whole = model.run_form(Form::Short, &batch).unwrap();
            let what = format!("{}, {shared} shared", dir.display());
            let batch = batch.with_prefix(shared);
            // Computed and kept, then found.
            for computed in [true, false] {
                let before = model.work();
                assert_same(&whole, &model.run(&batch).unwrap(), &what);
                let work = model.work().since(before);
                assert_eq!(
                    (work.prefix_misses == 1, work.prefix_hits == 0),
                    (computed, computed)
                );
            }
        }
    }
}

#[test]
fn the_form_for_long_sequences_equals_the_one_for_short_ones() {
    for dir in models() {
        let (config, mut model) = load(&dir);
        for lengths in [&[1][..], &[7, 3, 7], &[300, 12, 299]] {
            let batch = batch(&config, 0, lengths);
            let short = model.run_form(Form::Short, &batch).unwrap();
            let long = model.run_form(Form::Long, &batch).unwrap();
            assert_same(&short, &long, &format!("{}, {lengths:?}", dir.display()));
        }
    }
}

#[test]
fn our_own_attention_equals_the_standard_operator() {
    for dir in models() {
        let (config, mut own) = load(&dir);
        let mut standard = load_whole(&dir);
        for lengths in [&[1][..], &[7, 3, 7], &[300, 12, 299]] {
            let batch = batch(&config, 0, lengths);
            let [own, standard] = [&mut own, &mut standard].map(|model| model.run(&batch).unwrap());
            assert_same(&own, &standard, &format!("{}, {lengths:?}", dir.display()));
        }
    }
}

#[test]
fn int8_behind_a_kept_prefix_and_at_any_length_equals_one_pass() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for dir in ["models/tiny", "tests/fixtures/parity/gqa-8-4-five-layers"] {
        let (config, model) = load_int8(&root.join(dir));
        let mut model = model.keeping(1 << 30);
        let long = batch(&config, 0, &[257, 300]);
        let short = model.run_form(Form::Short, &long).unwrap();
        let other = model.run_form(Form::Long, &long).unwrap();
        assert_within(&short, &other, f32::INFINITY, dir);

        let queries = batch(&config, 20, &[21, 30, 28]).with_prefix(20);
        let first = model.run(&queries).unwrap();
        let kept = model.run(&queries).unwrap();
        assert_eq!(model.work().prefix_hits, 1);
        assert_within(&first, &kept, f32::INFINITY, dir);
    }
}

#[test]
fn a_batch_takes_the_route_that_its_lengths_and_its_prefix_make_worth_while() {
    let (config, model) = load(&models()[0]);
    let model = model.keeping(1 << 20);
    let batch = |shared, lengths: &[usize]| batch(&config, shared, lengths);
    let route = |shared, lengths: &[usize]| model.route(&batch(shared, lengths));
    assert_eq!(route(0, &[256, 3]), Route::Short { shared: 0 });
    assert_eq!(route(0, &[257]), Route::Long);
    assert_eq!(route(20, &[28; 32]), Route::Short { shared: 20 });
    // One more run of the model costs more than it saves.
    assert_eq!(route(20, &[28, 28]), Route::Short { shared: 0 });
    assert_eq!(route(270, &[280, 290]), Route::Short { shared: 270 });
    assert_eq!(route(2000, &[2001, 2001]), Route::Long);
    // Unless it is kept.
    let kept = model.route(&batch(20, &[28, 28]).with_prefix(20));
    assert_eq!(kept, Route::Short { shared: 20 });
}
