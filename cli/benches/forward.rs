//! Times forward passes of one model for a driver that compares it with others in one run.
//!
//! `cargo bench -p qwen3-embed --bench forward -- DIR PRECISION THREADS` loads the model on ONNX
//! Runtime and says in JSON how long that took, then answers each line `ROWS TOKENS` of its input
//! with the milliseconds of one batch and the process's resident bytes.
//! `benches/peers/int8.py` is such a driver.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    missing_docs,
    reason = "a program for measuring"
)]

use std::num::NonZeroUsize;
use std::time::Instant;
use std::{env, fs, io};

use qwen3_embedding::{BackendChoice, Device, EmbedOptions, Embedder, Precision};
use serde_json::json;

fn main() {
    let arguments: Vec<String> = env::args().skip(1).filter(|a| a != "--bench").collect();
    let [dir, precision, threads] = arguments.as_slice() else {
        println!("forward: not measured; give a model directory, f32 or int8, and threads");
        return;
    };
    let precision = match precision.as_str() {
        "int8" => Precision::Int8,
        _ => Precision::F32,
    };
    let begin = Instant::now();
    let mut embedder = Embedder::from_dir(dir)
        .backend(BackendChoice::Onnx)
        .device(Device::Cpu)
        .precision(precision)
        .threads(NonZeroUsize::new(threads.parse().unwrap()).unwrap())
        .max_batch_tokens(1 << 20)
        .build()
        .unwrap();
    let loaded = begin.elapsed();
    forward(&mut embedder, 1, 16);
    let report = json!({
        "load_ms": loaded.as_secs_f64() * 1e3,
        "first_vector_ms": begin.elapsed().as_secs_f64() * 1e3,
        "resident": resident(),
        "weights": embedder.memory().unwrap().active,
        "reason": embedder.backend().reason,
    });
    println!("{report}");
    for line in io::stdin().lines() {
        let line = line.unwrap();
        let (rows, tokens) = line.split_once(' ').unwrap();
        let (rows, tokens) = (rows.parse().unwrap(), tokens.parse().unwrap());
        let begin = Instant::now();
        forward(&mut embedder, rows, tokens);
        let ms = begin.elapsed().as_secs_f64() * 1e3;
        println!("{}", json!({"ms": ms, "resident": resident()}));
    }
}

/// One batch without padding, the ids spread over the first 100,000.
fn forward(embedder: &mut Embedder, rows: usize, tokens: usize) {
    let sequences: Vec<Vec<u32>> = (0..rows)
        .map(|row| {
            let id = |token: usize| (1000 + (row * 7919 + token * 104_729) % 99_000) as u32;
            (0..tokens).map(id).collect()
        })
        .collect();
    let sequences: Vec<&[u32]> = sequences.iter().map(Vec::as_slice).collect();
    let options = EmbedOptions::default();
    embedder.embed_token_ids(&sequences, &options).unwrap();
}

/// Resident bytes of this process; 0 where the system does not say.
fn resident() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<usize>().ok());
    kilobytes.unwrap_or(0) * 1024
}
