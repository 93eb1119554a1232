//! What ONNX Runtime holds: no more than the weights need, before and after any batch.
//!
//! Resident memory is that of the process, so each test runs in one of its own.
#![cfg(all(target_os = "linux", feature = "onnx"))]
#![allow(clippy::unwrap_used)]

mod support;

use std::fs;
use std::path::Path;
use std::process::Command;

use qwen3_embedding::{BackendChoice, EmbedOptions, Embedder, Error, Precision, Prompt};
use serde_json::{Value, json};
use support::*;
use tempfile::TempDir;

const HIDDEN: usize = 256;
const VOCAB: usize = 200_000;

/// A model of 4 query heads and 2 KV heads of 64; `vocab` rows, of which nothing is written, so that
/// they take no disk.
fn model(vocab: usize, layers: usize) -> TempDir {
    let layer = [
        ("input_layernorm", vec![HIDDEN]),
        ("post_attention_layernorm", vec![HIDDEN]),
        ("self_attn.q_proj", vec![256, HIDDEN]),
        ("self_attn.k_proj", vec![128, HIDDEN]),
        ("self_attn.v_proj", vec![128, HIDDEN]),
        ("self_attn.o_proj", vec![HIDDEN, 256]),
        ("self_attn.q_norm", vec![64]),
        ("self_attn.k_norm", vec![64]),
        ("mlp.gate_proj", vec![1024, HIDDEN]),
        ("mlp.up_proj", vec![1024, HIDDEN]),
        ("mlp.down_proj", vec![HIDDEN, 1024]),
    ];
    let blocks = (0..layers).flat_map(|n| {
        let layer = layer.iter();
        layer.map(move |(key, shape)| (format!("layers.{n}.{key}.weight"), shape.clone()))
    });
    let outer = [
        ("norm.weight".to_owned(), vec![HIDDEN]),
        ("embed_tokens.weight".to_owned(), vec![vocab, HIDDEN]),
    ];
    let dir = TempDir::new().unwrap();
    write(dir.path(), [vocab, layers], blocks.chain(outer));
    dir
}

fn write(
    dir: &Path,
    [vocab, layers]: [usize; 2],
    tensors: impl Iterator<Item = (String, Vec<usize>)>,
) {
    let config = json!({
        "architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "hidden_act": "silu",
        "hidden_size": HIDDEN, "intermediate_size": 1024, "num_hidden_layers": layers,
        "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 64, "vocab_size": vocab,
        "max_position_embeddings": 4096, "rms_norm_eps": 1e-6, "rope_theta": 1e6,
    });
    fs::write(dir.join("config.json"), config.to_string()).unwrap();
    fs::write(dir.join("tokenizer.json"), minimal_tokenizer().to_string()).unwrap();
    let mut header = serde_json::Map::new();
    let (mut end, mut written) = (0, 0);
    for (name, shape) in tensors {
        let begin = end;
        end += shape.iter().product::<usize>() * 2;
        if !name.starts_with("embed") {
            written = end;
        }
        let entry = json!({"dtype": "BF16", "shape": shape, "data_offsets": [begin, end]});
        header.insert(name, entry);
    }
    let header = serde_json::Value::Object(header).to_string();
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header.as_bytes());
    let start = file.len();
    // 0x3c3c is 0.0115 in bf16.
    file.resize(start + written + HIDDEN * 64, 0x3c);
    fs::write(dir.join("model.safetensors"), file).unwrap();
    let file = fs::File::options()
        .write(true)
        .open(dir.join("model.safetensors"))
        .unwrap();
    file.set_len((start + end) as u64).unwrap();
}

/// A figure of /proc/self/status, in bytes.
fn status(key: &str) -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(key)).unwrap();
    let kilobytes = line.split_whitespace().nth(1).unwrap();
    kilobytes.parse::<usize>().unwrap() * 1024
}

/// Runs `body` in a process of its own, which is this test again.
fn alone(test: &str, body: impl FnOnce()) {
    const CHILD: &str = "ONNX_MEMORY_CHILD";
    if std::env::var_os(CHILD).is_some() {
        return body();
    }
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test])
        .env(CHILD, "1")
        // By default glibc keeps up to 64 MiB of what it was given back, whoever asked for it.
        .env("MALLOC_TRIM_THRESHOLD_", "1048576")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&child.stdout);
    assert!(child.status.success(), "{text}");
}

fn sequence(length: usize, start: usize) -> Vec<u32> {
    (0..length)
        .map(|i| ((start * 131 + i * (17 + start / 64)) % 64) as u32)
        .collect()
}

#[test]
fn a_large_batch_leaves_nothing_behind() {
    alone("a_large_batch_leaves_nothing_behind", || {
        let dir = model(VOCAB, 2);
        // The library and its first run take memory that is not the model's.
        embed_ids(
            &mut open(&tiny(), BackendChoice::Onnx, Precision::F32),
            &[sequence(20, 1)],
        );
        let before = status("VmRSS");
        let mut embedder = builder(dir.path(), BackendChoice::Onnx, Precision::F32)
            .max_batch_tokens(4096)
            .build()
            .unwrap();
        let weights = embedder.memory().unwrap().active;
        for (rows, length) in [(256, 16), (16, 256), (1, 4096)] {
            fs::write("/proc/self/clear_refs", "5").unwrap();
            let batch: Vec<_> = (0..rows).map(|row| sequence(length, row)).collect();
            embed_ids(&mut embedder, &batch);
            let (peak, after) = (status("VmHWM") - before, status("VmRSS") - before);
            // 4,096 tokens need at least their gate, up and their product.
            assert!(
                peak > weights + 4096 * 3 * 1024 * 4,
                "the measure sees no batch: {peak}"
            );
            // The bound that is promised for what stays.
            assert!(
                after * 10 <= weights * 13,
                "{rows} x {length}: {after} bytes stay, weights {weights}"
            );
        }
    });
}

#[test]
fn memory_grows_with_a_texts_length_and_not_with_its_square() {
    // Of shorter texts most of the peak is memory that was there before.
    const LONGEST: usize = 16_384;
    let test = "memory_grows_with_a_texts_length_and_not_with_its_square";
    alone(test, || {
        let dir = copy_dir(&tiny());
        let config = dir.path().join("config.json");
        let mut values: Value = serde_json::from_slice(&fs::read(&config).unwrap()).unwrap();
        values["max_position_embeddings"] = json!(LONGEST);
        let heads = values["num_attention_heads"].as_u64().unwrap() as usize;
        fs::write(config, values.to_string()).unwrap();
        for precision in [Precision::F32, Precision::Int8] {
            let mut embedder = open(dir.path(), BackendChoice::Onnx, precision);
            embed_ids(&mut embedder, &[sequence(600, 1)]);
            let before = status("VmRSS");
            let peaks = [4096, 8192, LONGEST].map(|length| {
                fs::write("/proc/self/clear_refs", "5").unwrap();
                embed_ids(&mut embedder, &[sequence(length, 1)]);
                status("VmHWM") - before
            });
            // Twice as many more tokens, and a fourth for what does not grow so evenly. Of the peaks
            // themselves an unknown part was there before.
            let grown = [peaks[1] - peaks[0], peaks[2] - peaks[1]];
            assert!(2 * grown[1] <= 5 * grown[0], "{precision:?}: {peaks:?}");
            let scores = heads * LONGEST * LONGEST * 4;
            assert!(peaks[2] < scores / 4, "{precision:?}: {peaks:?}");
        }
    });
}

#[test]
fn memory_of_a_long_text_does_not_grow_with_the_layers() {
    alone(
        "memory_of_a_long_text_does_not_grow_with_the_layers",
        || {
            const TOKENS: usize = 2048;
            let peaks = [2, 26].map(|layers| {
                let dir = model(1000, layers);
                let mut embedder = open(dir.path(), BackendChoice::Onnx, Precision::F32);
                embed_ids(&mut embedder, &[sequence(300, 1)]);
                let before = status("VmRSS");
                fs::write("/proc/self/clear_refs", "5").unwrap();
                embed_ids(&mut embedder, &[sequence(TOKENS, 1)]);
                status("VmHWM") - before
            });
            // The keys and values of 24 more layers, each with 128 elements for a token.
            let kept = 24 * 2 * TOKENS * 128 * 4;
            let more = peaks[1].saturating_sub(peaks[0]);
            assert!(4 * more < kept, "{peaks:?}, all keys and values {kept}");
        },
    );
}

#[test]
fn memory_is_flat_over_ten_thousand_ragged_requests() {
    alone("memory_is_flat_over_ten_thousand_ragged_requests", || {
        let mut embedder = open(&tiny(), BackendChoice::Onnx, Precision::F32);
        let query = EmbedOptions::default().prompt(Prompt::Query);
        let mut run = |requests: std::ops::Range<usize>| {
            for n in requests {
                // One in fifty is long; in one of three the sequences share their beginning.
                let longest = if n % 50 == 0 { 300 } else { 24 };
                let lengths = (0..1 + n % 4).map(|row| 1 + (n * 37 + row * 53) % longest);
                let batch: Vec<_> = lengths
                    .enumerate()
                    .map(|(row, length)| match n % 3 {
                        0 => [sequence(20, 1), sequence(length, row)].concat(),
                        _ => sequence(length, n + row),
                    })
                    .collect();
                embed_ids(&mut embedder, &batch);
                let text = "word ".repeat(n % 23);
                embedder.embed(&[&text], &query).unwrap();
            }
        };
        // Every shape has been seen by then, and the allocator has its slack.
        run(0..500);
        let before = status("VmRSS");
        run(500..5000);
        let grown = status("VmRSS").saturating_sub(before);
        // The bound that is promised; what a batch left behind would add up to more.
        assert!(
            grown * 50 <= before,
            "{grown} bytes more than {before} after 1,000 requests"
        );
    });
}

#[test]
fn weights_that_do_not_fit_are_refused_before_they_are_loaded() {
    alone(
        "weights_that_do_not_fit_are_refused_before_they_are_loaded",
        || {
            // A table of 1.1 TB in its 16 bits: more than any machine that runs this has left.
            let vocab = 1 << 32 >> 1;
            let dir = model(vocab - 1, 2);
            let refused = Embedder::from_dir(dir.path())
                .backend(BackendChoice::Onnx)
                .build();
            let Err(Error::ModelTooLarge {
                backend,
                needed,
                free,
            }) = refused
            else {
                panic!("{:?}", refused.err());
            };
            assert_eq!(backend, "ONNX Runtime");
            assert!(needed >= (vocab as u64 - 1) * HIDDEN as u64 * 2 && free < needed);
            // Nothing was allocated for them.
            assert!(status("VmHWM") < 1 << 30);
        },
    );
}
