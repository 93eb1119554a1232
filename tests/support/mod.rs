//! What the integration tests share: models, golden vectors, distances.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "each test file uses its own part"
)]

#[cfg(feature = "hub")]
pub mod hub_server;
#[cfg(feature = "hub")]
pub mod hub_setup;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use qwen3_embedding::{
    BackendChoice, Device, EmbedOptions, Embedder, EmbedderBuilder, Embeddings, Normalization,
    Precision,
};
use safetensors::SafeTensors;
use safetensors::tensor::TensorView;
use serde_json::{Value, json};
use tempfile::TempDir;

/// Every backend of this build; a test body runs once for each.
pub const BACKENDS: &[BackendChoice] = &[
    #[cfg(feature = "mlx")]
    BackendChoice::Mlx,
    #[cfg(feature = "onnx")]
    BackendChoice::Onnx,
];

/// Whether the backend computes in this precision on a processor.
pub fn supports(backend: BackendChoice, precision: Precision) -> bool {
    match backend {
        BackendChoice::Onnx if precision == Precision::F16 => processor_computes_in_f16(),
        BackendChoice::Onnx => matches!(precision, Precision::F32 | Precision::Int8),
        _ => precision != Precision::Int8,
    }
}

#[cfg(target_arch = "aarch64")]
pub fn processor_computes_in_f16() -> bool {
    std::arch::is_aarch64_feature_detected!("fp16")
}

#[cfg(not(target_arch = "aarch64"))]
pub fn processor_computes_in_f16() -> bool {
    false
}

/// One golden vector: token ids and the last token's final-normed row, as the reference gives it.
pub struct Golden {
    pub case: Value,
    pub ids: Vec<u32>,
    pub hidden: Vec<f32>,
}

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

pub fn tiny() -> PathBuf {
    root().join("models/tiny")
}

/// This test program again, as a child: through the emulator that `QWEN3_TEST_RUNNER` names, if it
/// does, since the system cannot start a program of another processor by itself.
pub fn this_program() -> Command {
    let program = std::env::current_exe().unwrap();
    match std::env::var_os("QWEN3_TEST_RUNNER") {
        Some(runner) => {
            let mut command = Command::new(runner);
            command.arg(program);
            command
        }
        None => Command::new(program),
    }
}

/// The parity fixtures by name.
pub fn fixtures() -> Vec<(String, PathBuf)> {
    let mut found: Vec<_> = fs::read_dir(root().join("tests/fixtures/parity"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir())
        .map(|path| {
            (
                path.file_name().unwrap().to_string_lossy().into_owned(),
                path,
            )
        })
        .collect();
    found.sort();
    found
}

pub fn goldens(dir: &Path) -> Vec<Golden> {
    let text = fs::read_to_string(dir.join("golden.json")).unwrap();
    let golden: Value = serde_json::from_str(&text).unwrap();
    let cases = golden["cases"].as_array().unwrap().clone();
    cases
        .into_iter()
        .map(|case| Golden {
            ids: serde_json::from_value(case["ids"].clone()).unwrap(),
            hidden: serde_json::from_value(case["hidden"].clone()).unwrap(),
            case,
        })
        .collect()
}

/// A tokenizer of three tokens, for checkpoints that are only ever given ids.
pub fn minimal_tokenizer() -> Value {
    json!({
        "version": "1.0",
        "added_tokens": [{
            "id": 2, "content": "<|endoftext|>", "single_word": false, "lstrip": false,
            "rstrip": false, "normalized": false, "special": true,
        }],
        "pre_tokenizer": {
            "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false, "use_regex": false,
        },
        "model": {"type": "BPE", "vocab": {"a": 0, "b": 1}, "merges": []},
    })
}

/// A copy of `dir` that holds a tokenizer too.
pub fn with_tokenizer(dir: &Path) -> TempDir {
    let copy = copy_dir(dir);
    fs::write(
        copy.path().join("tokenizer.json"),
        minimal_tokenizer().to_string(),
    )
    .unwrap();
    copy
}

/// A copy of the files of `dir` and of its folders' files.
pub fn copy_dir(dir: &Path) -> TempDir {
    let copy = TempDir::new().unwrap();
    copy_into(dir, copy.path());
    copy
}

fn copy_into(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            fs::create_dir(&target).unwrap();
            copy_into(&path, &target);
        } else {
            fs::copy(&path, &target).unwrap();
        }
    }
}

/// Rewrites a model's only shard as f32, each tensor after `edit` saw its name and values.
pub fn edit_weights(dir: &Path, mut edit: impl FnMut(&str, &mut [f32])) {
    let path = dir.join("model.safetensors");
    let file = fs::read(&path).unwrap();
    let tensors = SafeTensors::deserialize(&file).unwrap();
    let edited: Vec<_> = tensors
        .iter()
        .map(|(name, view)| {
            let mut values = to_f32(&view);
            edit(name, &mut values);
            let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
            (name, view.shape().to_vec(), bytes)
        })
        .collect();
    let views = edited.iter().map(|(name, shape, bytes)| {
        let view = TensorView::new(safetensors::Dtype::F32, shape.clone(), bytes).unwrap();
        (*name, view)
    });
    let bytes = safetensors::serialize(views, None).unwrap();
    fs::write(&path, bytes).unwrap();
}

/// The elements of a bf16 tensor.
fn to_f32(view: &TensorView<'_>) -> Vec<f32> {
    assert_eq!(view.dtype(), safetensors::Dtype::BF16);
    let pairs = view.data().chunks_exact(2);
    pairs
        .map(|b| f32::from_bits(u32::from(u16::from_le_bytes([b[0], b[1]])) << 16))
        .collect()
}

pub fn builder(dir: &Path, backend: BackendChoice, precision: Precision) -> EmbedderBuilder {
    let builder = Embedder::from_dir(dir)
        .backend(backend)
        .device(Device::Cpu)
        .precision(precision);
    // No directory can be made below a file, so nothing is kept: each test quantises for itself.
    #[cfg(feature = "onnx")]
    let builder = builder.quantized_cache(root().join("Cargo.toml/quantized"));
    builder
}

pub fn open(dir: &Path, backend: BackendChoice, precision: Precision) -> Embedder {
    builder(dir, backend, precision).build().unwrap()
}

/// Options under which vectors compare with the reference's rows.
pub fn raw() -> EmbedOptions {
    EmbedOptions::default().normalization(Normalization::None)
}

pub fn embed_ids(embedder: &mut Embedder, sequences: &[Vec<u32>]) -> Embeddings {
    let sequences: Vec<&[u32]> = sequences.iter().map(Vec::as_slice).collect();
    embedder.embed_token_ids(&sequences, &raw()).unwrap()
}

pub fn cosine(a: &[f32], b: &[f32]) -> f64 {
    assert_eq!(a.len(), b.len());
    let dot = |x: &[f32], y: &[f32]| -> f64 {
        let products = x.iter().zip(y).map(|(&x, &y)| f64::from(x) * f64::from(y));
        products.sum()
    };
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

pub fn max_abs_error(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    let errors = a.iter().zip(b).map(|(x, y)| (x - y).abs());
    errors.fold(0.0, |worst, error| {
        if error.is_nan() {
            f32::NAN
        } else {
            worst.max(error)
        }
    })
}

/// `row` scaled to length 1.
pub fn normalized(row: &[f32]) -> Vec<f32> {
    let squares: f64 = row.iter().map(|&v| f64::from(v).powi(2)).sum();
    row.iter()
        .map(|&v| (f64::from(v) / squares.sqrt()) as f32)
        .collect()
}
