//! Int8: near f32 also where weights and activations have outliers, and kept on disk.
#![cfg(feature = "onnx")]
#![allow(clippy::unwrap_used)]

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use qwen3_embedding::{BackendChoice, EmbedOptions, Embedder, Embeddings, Precision};
use safetensors::tensor::TensorView;
use serde_json::json;
use support::*;
use tempfile::TempDir;

const HIDDEN: usize = 256;
const INTERMEDIATE: usize = 512;
const ROWS: usize = 600;

/// Uniform in -1..1, from SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((bits ^ (bits >> 31)) >> 40) as f32 / (1 << 23) as f32 - 1.0
    }
}

/// A model with 4 query heads and 2 KV heads of 64 and, as trained ones have them, norms with a few
/// gains of 10 to 50 and a `down_proj` with a few rows that make activations far above the median.
fn planted(seed: u64, layers: usize) -> TempDir {
    let mut random = Random(seed);
    let mut tensors: Vec<(String, Vec<usize>, Vec<f32>)> = Vec::new();
    let mut add = |name: String, shape: &[usize], scale: f32| {
        let values: Vec<f32> = (0..shape.iter().product())
            .map(|_| random.next() * scale)
            .collect();
        tensors.push((name, shape.to_vec(), values));
    };
    add("embed_tokens.weight".to_owned(), &[ROWS, HIDDEN], 1.0);
    add("norm.weight".to_owned(), &[HIDDEN], 1.0);
    for layer in 0..layers {
        let mut matrix = |name: &str, rows: usize, columns: usize| {
            let scale = (3.0 / columns as f32).sqrt();
            add(
                format!("layers.{layer}.{name}.weight"),
                &[rows, columns],
                scale,
            );
        };
        matrix("self_attn.q_proj", 256, HIDDEN);
        matrix("self_attn.k_proj", 128, HIDDEN);
        matrix("self_attn.v_proj", 128, HIDDEN);
        matrix("self_attn.o_proj", HIDDEN, 256);
        matrix("mlp.gate_proj", INTERMEDIATE, HIDDEN);
        matrix("mlp.up_proj", INTERMEDIATE, HIDDEN);
        matrix("mlp.down_proj", HIDDEN, INTERMEDIATE);
        for norm in ["input_layernorm", "post_attention_layernorm"] {
            add(format!("layers.{layer}.{norm}.weight"), &[HIDDEN], 0.2);
        }
        for norm in ["self_attn.q_norm", "self_attn.k_norm"] {
            add(format!("layers.{layer}.{norm}.weight"), &[64], 0.2);
        }
    }
    for (name, _, values) in &mut tensors {
        if name.contains("norm") {
            values.iter_mut().for_each(|gain| *gain += 1.0);
        }
        if name.contains("layernorm") {
            for (place, gain) in [(3, 10.0), (77, 25.0), (130, 50.0), (201, 15.0)] {
                values[place] *= gain;
            }
        }
        if name == "layers.1.mlp.down_proj.weight" {
            for row in [5, 99] {
                values[row * INTERMEDIATE..][..INTERMEDIATE]
                    .iter_mut()
                    .for_each(|value| *value *= 60.0);
            }
        }
    }
    write(&tensors, layers)
}

fn write(tensors: &[(String, Vec<usize>, Vec<f32>)], layers: usize) -> TempDir {
    let dir = TempDir::new().unwrap();
    let config = json!({
        "model_type": "qwen3", "hidden_act": "silu", "attention_bias": false,
        "hidden_size": HIDDEN, "intermediate_size": INTERMEDIATE, "num_hidden_layers": layers,
        "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 64, "vocab_size": ROWS,
        "max_position_embeddings": 512, "rms_norm_eps": 1e-6, "rope_theta": 1e6,
    });
    fs::write(dir.path().join("config.json"), config.to_string()).unwrap();
    let tokenizer = minimal_tokenizer().to_string();
    fs::write(dir.path().join("tokenizer.json"), tokenizer).unwrap();
    let bytes: Vec<Vec<u8>> = tensors
        .iter()
        .map(|(.., values)| values.iter().flat_map(|v| v.to_le_bytes()).collect())
        .collect();
    let views = tensors.iter().zip(&bytes).map(|((name, shape, _), bytes)| {
        let view = TensorView::new(safetensors::Dtype::F32, shape.clone(), bytes);
        (name.as_str(), view.unwrap())
    });
    let file = safetensors::serialize(views, None).unwrap();
    fs::write(dir.path().join("model.safetensors"), file).unwrap();
    dir
}

/// Lengths 1 to 48, none sharing content.
fn sequences() -> Vec<Vec<u32>> {
    [1u32, 2, 5, 16, 33, 48]
        .iter()
        .map(|&length| {
            (0..length)
                .map(|i| (length * 41 + i * 17) % ROWS as u32)
                .collect()
        })
        .collect()
}

fn vectors(dir: &Path, precision: Precision) -> Embeddings {
    embed_ids(&mut open(dir, BackendChoice::Onnx, precision), &sequences())
}

fn cached(model: &Path, cache: &Path) -> Embedder {
    let builder = builder(model, BackendChoice::Onnx, Precision::Int8);
    builder.quantized_cache(cache).build().unwrap()
}

fn files(dir: &Path, extension: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    entries
        .filter(|path| path.extension().is_some_and(|found| found == extension))
        .collect()
}

#[test]
fn outliers_of_weights_and_activations_leave_vectors_near_those_of_f32() {
    for seed in 1..=2 {
        let model = planted(seed, 4);
        let (exact, int8) = (
            vectors(model.path(), Precision::F32),
            vectors(model.path(), Precision::Int8),
        );
        for (index, (a, b)) in exact.iter().zip(int8.iter()).enumerate() {
            // DESIGN's bound for int8. Equal ones would mean that nothing was quantised.
            let similarity = cosine(a, b);
            assert!(
                (0.99..0.9999999).contains(&similarity),
                "{seed}, {index}: {similarity}"
            );
        }
    }
}

#[test]
fn the_precision_and_what_was_measured_are_told() {
    let info = open(&tiny(), BackendChoice::Onnx, Precision::Int8)
        .backend()
        .clone();
    assert_eq!(info.precision.to_string(), "INT8");
    assert!(
        info.reason
            .contains("groups of linear layers in f32, cosine"),
        "{}",
        info.reason
    );
}

#[test]
fn a_kept_model_gives_the_same_vectors_and_is_not_made_again() {
    let (model, cache) = (planted(1, 1), TempDir::new().unwrap());
    let first = embed_ids(&mut cached(model.path(), cache.path()), &sequences());
    let kept = files(cache.path(), "int8");
    assert_eq!(kept.len(), 1);
    let written = fs::metadata(&kept[0]).unwrap().modified().unwrap();
    let second = embed_ids(&mut cached(model.path(), cache.path()), &sequences());
    assert_eq!(first.data(), second.data());
    assert_eq!(fs::metadata(&kept[0]).unwrap().modified().unwrap(), written);
    assert_eq!(files(cache.path(), "tmp").len(), 0);
}

#[test]
fn a_model_that_has_loaded_does_not_need_its_file() {
    let (model, cache) = (planted(1, 2), TempDir::new().unwrap());
    let first = embed_ids(&mut cached(model.path(), cache.path()), &sequences());
    let mut second = cached(model.path(), cache.path());
    let reason = &second.backend().reason;
    assert!(!reason.contains(", 0 of "), "no layer in f32: {reason}");
    // A page of it that were still read would end the process.
    let file = &files(cache.path(), "int8")[0];
    fs::File::options()
        .write(true)
        .truncate(true)
        .open(file)
        .unwrap();
    assert_eq!(embed_ids(&mut second, &sequences()).data(), first.data());
}

#[test]
fn a_kept_model_is_found_by_the_checkpoints_content_wherever_it_lies() {
    let (model, cache) = (planted(1, 1), TempDir::new().unwrap());
    drop(cached(model.path(), cache.path()));
    drop(cached(copy_dir(model.path()).path(), cache.path()));
    assert_eq!(files(cache.path(), "int8").len(), 1);

    let other = planted(2, 1);
    let mut embedder = cached(other.path(), cache.path());
    assert_eq!(files(cache.path(), "int8").len(), 2);
    let found = embed_ids(&mut embedder, &sequences());
    assert_eq!(found.data(), vectors(other.path(), Precision::Int8).data());
    // The same directory with other weights.
    fs::copy(
        other.path().join("model.safetensors"),
        model.path().join("model.safetensors"),
    )
    .unwrap();
    let replaced = embed_ids(&mut cached(model.path(), cache.path()), &sequences());
    assert_eq!(replaced.data(), found.data());
}

#[test]
fn a_damaged_file_is_made_again_and_never_used() {
    let (model, cache) = (planted(1, 1), TempDir::new().unwrap());
    let expected = embed_ids(&mut cached(model.path(), cache.path()), &sequences());
    let file = files(cache.path(), "int8").remove(0);
    let whole = fs::read(&file).unwrap();
    let len = whole.len();
    let mut damaged: Vec<Vec<u8>> = [0, 30, 100, len - 1]
        .map(|kept| whole[..kept].to_vec())
        .to_vec();
    damaged.push([whole.clone(), vec![0]].concat());
    for place in [3, 22, 30, 60, len / 3, len - 1] {
        let mut flipped = whole.clone();
        flipped[place] ^= 0x10;
        damaged.push(flipped);
    }
    for (index, content) in damaged.iter().enumerate() {
        fs::write(&file, content).unwrap();
        let found = embed_ids(&mut cached(model.path(), cache.path()), &sequences());
        assert_eq!(found.data(), expected.data(), "{index}");
        assert!(fs::read(&file).unwrap() == whole, "{index}");
    }
}

#[test]
fn without_a_place_to_keep_it_the_model_is_made_on_each_load() {
    let model = planted(1, 1);
    let nowhere = model.path().join("config.json/below");
    let first = embed_ids(&mut cached(model.path(), &nowhere), &sequences());
    let second = embed_ids(&mut cached(model.path(), &nowhere), &sequences());
    assert_eq!(first.data(), second.data());
}

#[test]
fn weights_that_are_not_numbers_are_refused() {
    for name in [
        "embed_tokens.weight",
        "layers.1.mlp.up_proj.weight",
        "norm.weight",
    ] {
        let model = copy_dir(&tiny());
        edit_weights(model.path(), |found, values| {
            if found.ends_with(name) {
                values[7] = f32::NAN;
            }
        });
        let builder = builder(model.path(), BackendChoice::Onnx, Precision::Int8);
        let error = builder.build().err().unwrap().to_string();
        assert!(
            error.starts_with("int8: ") && error.contains(name),
            "{error}"
        );
    }
}

#[test]
fn weights_whose_products_could_overflow_are_refused() {
    let model = copy_dir(&tiny());
    edit_weights(model.path(), |name, values| {
        if name == "layers.2.mlp.down_proj.weight" {
            values.iter_mut().for_each(|value| *value *= 1e20);
        }
    });
    let builder = builder(model.path(), BackendChoice::Onnx, Precision::Int8);
    let error = builder.build().err().unwrap().to_string();
    let expected = "int8: layers.2.mlp.down_proj.weight: its outputs may reach ";
    assert!(error.starts_with(expected), "{error}");
}

#[test]
fn a_zero_vector_is_an_error_after_a_second_try_in_f32() {
    let model = copy_dir(&tiny());
    edit_weights(model.path(), |name, values| {
        if name == "norm.weight" {
            values[..8].fill(0.0);
        }
    });
    let mut embedder = open(model.path(), BackendChoice::Onnx, Precision::Int8);
    let cut = EmbedOptions::default().dimensions(8);
    let error = embedder.embed(&["a"], &cut).unwrap_err();
    let expected = "input 0: the model gave a zero vector instead of a finite non-zero vector, \
                    also alone in f32";
    assert_eq!(error.to_string(), expected);
    embedder.embed(&["a"], &cut.dimensions(9)).unwrap();
}

#[cfg(feature = "mlx")]
#[test]
fn mlx_refuses_int8() {
    let error = builder(&tiny(), BackendChoice::Mlx, Precision::Int8).probe();
    assert_eq!(
        error.unwrap_err().to_string(),
        "MLX: not available: precision Int8 is not supported; supported: Auto, F32, F16, Bf16"
    );
}
