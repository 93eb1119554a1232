//! Loading holds the weights and at most one fused layer beside them.
//!
//! Resident memory is that of the process, so this file has one test.
#![cfg(all(target_os = "linux", any(feature = "mlx", feature = "onnx")))]
#![allow(clippy::unwrap_used)]

mod support;

use std::fs;

use qwen3_embedding::{BackendChoice, Precision};
use serde_json::json;
use support::*;
use tempfile::TempDir;

const HIDDEN: usize = 512;
const INTERMEDIATE: usize = 2048;
const LAYERS: usize = 4;
const ROWS: usize = 40_000;

/// Tensors of a dense Qwen3 with 4 query heads and 2 KV heads of 64.
fn tensors() -> Vec<(String, Vec<usize>)> {
    let mut tensors = vec![
        ("embed_tokens.weight".to_owned(), vec![ROWS, HIDDEN]),
        ("norm.weight".to_owned(), vec![HIDDEN]),
    ];
    for layer in 0..LAYERS {
        let mut add = |name: &str, shape: &[usize]| {
            tensors.push((format!("layers.{layer}.{name}.weight"), shape.to_vec()));
        };
        add("input_layernorm", &[HIDDEN]);
        add("post_attention_layernorm", &[HIDDEN]);
        add("self_attn.q_proj", &[256, HIDDEN]);
        add("self_attn.k_proj", &[128, HIDDEN]);
        add("self_attn.v_proj", &[128, HIDDEN]);
        add("self_attn.o_proj", &[HIDDEN, 256]);
        add("self_attn.q_norm", &[64]);
        add("self_attn.k_norm", &[64]);
        add("mlp.gate_proj", &[INTERMEDIATE, HIDDEN]);
        add("mlp.up_proj", &[INTERMEDIATE, HIDDEN]);
        add("mlp.down_proj", &[HIDDEN, INTERMEDIATE]);
    }
    tensors
}

/// Writes the checkpoint in bf16, so that loading in f32 converts, and returns its elements.
fn write_model(dir: &std::path::Path) -> usize {
    let config = json!({
        "model_type": "qwen3", "hidden_act": "silu", "attention_bias": false,
        "hidden_size": HIDDEN, "intermediate_size": INTERMEDIATE, "num_hidden_layers": LAYERS,
        "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 64, "vocab_size": ROWS,
        "max_position_embeddings": 512, "rms_norm_eps": 1e-6, "rope_theta": 1e6,
    });
    fs::write(dir.join("config.json"), config.to_string()).unwrap();
    fs::write(dir.join("tokenizer.json"), minimal_tokenizer().to_string()).unwrap();
    let mut header = serde_json::Map::new();
    let mut end = 0;
    for (name, shape) in tensors() {
        let begin = end;
        end += shape.iter().product::<usize>() * 2;
        let entry = json!({"dtype": "BF16", "shape": shape, "data_offsets": [begin, end]});
        header.insert(name, entry);
    }
    let header = serde_json::Value::Object(header).to_string();
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header.as_bytes());
    file.resize(file.len() + end, 0x3c);
    fs::write(dir.join("model.safetensors"), file).unwrap();
    end / 2
}

/// A figure of /proc/self/status, in bytes.
fn status(key: &str) -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(key)).unwrap();
    let kilobytes = line.split_whitespace().nth(1).unwrap();
    kilobytes.parse::<usize>().unwrap() * 1024
}

/// Loads the model once and checks the process's peak.
fn measure(backend: BackendChoice) {
    let model = TempDir::new().unwrap();
    let elements = write_model(model.path());
    let weights = match backend {
        // Matrices stay in 16 bits.
        BackendChoice::Onnx => elements * 2,
        // Of matrices, the table alone stays in 16 bits.
        _ => elements * 4 - ROWS * HIDDEN * 2,
    };
    let fused_layer = (512 * HIDDEN + 2 * INTERMEDIATE * HIDDEN) * 4;

    // A small model first: the libraries' own memory is not the checkpoint's.
    drop(open(&tiny(), backend, Precision::F32));
    fs::write("/proc/self/clear_refs", "5").unwrap();
    let before = status("VmRSS");
    let embedder = open(model.path(), backend, Precision::F32);
    let peak = status("VmHWM") - before;
    drop(embedder);

    assert!(
        peak >= weights * 9 / 10,
        "the measure does not see the load: {peak}"
    );
    // Allocator rounding and the mapped window of the file stay below the fused layer's size.
    assert!(
        peak <= weights + fused_layer,
        "peak {peak}, weights {weights}, fused layer {fused_layer}"
    );
}

/// Memory that one backend gave back is memory that the next need not ask for, so each is measured
/// in a process of its own: this test again, told which.
#[test]
fn peak_is_the_weights_and_one_fused_layer() {
    const BACKEND: &str = "LOAD_MEMORY_BACKEND";
    if let Ok(name) = std::env::var(BACKEND) {
        let wanted = BACKENDS.iter().find(|b| format!("{b:?}") == name);
        return measure(*wanted.unwrap());
    }
    for backend in BACKENDS {
        let child = this_program()
            .env(BACKEND, format!("{backend:?}"))
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&child.stdout);
        assert!(child.status.success(), "{backend:?}: {text}");
    }
}
