//! Our side of `benches/peers/run.py`: one model on ONNX Runtime, which answers its requests.
//!
//! `cargo bench -p qwen3-embed --bench forward -- DIR PRECISION THREADS`, then the protocol of
//! `benches/peers/protocol.py` on stdin and stdout.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    missing_docs,
    reason = "a program for measuring"
)]

use std::num::NonZeroUsize;
use std::time::Instant;
use std::{env, fs, io};

use qwen3_embedding::{BackendChoice, Device, EmbedOptions, Embedder, Precision, Prompt};
use serde::Deserialize;
use serde_json::json;

#[derive(Deserialize)]
struct Request {
    texts: Vec<String>,
    /// The model's query prompt, or nothing.
    prompt: String,
    vectors: bool,
}

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
        .build()
        .unwrap();
    let version = format!(
        "qwen3-embedding {}, {}",
        env!("CARGO_PKG_VERSION"),
        embedder.backend().reason
    );
    let load_ms = begin.elapsed().as_secs_f64() * 1e3;
    println!("{}", json!({"load_ms": load_ms, "version": version}));
    for line in io::stdin().lines() {
        let request: Request = serde_json::from_str(&line.unwrap()).unwrap();
        let texts: Vec<&str> = request.texts.iter().map(String::as_str).collect();
        let role = match request.prompt.as_str() {
            "" => Prompt::Document,
            _ => Prompt::Query,
        };
        let options = EmbedOptions::default().prompt(role);
        let begin = Instant::now();
        let embeddings = embedder.embed(&texts, &options).unwrap();
        let ms = begin.elapsed().as_secs_f64() * 1e3;
        let vectors: Option<Vec<&[f32]>> = request.vectors.then(|| embeddings.iter().collect());
        let answer = json!({"ms": ms, "vectors": vectors, "resident": resident()});
        println!("{answer}");
    }
}

/// Resident bytes of this process; 0 where the system does not say.
fn resident() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<usize>().ok());
    kilobytes.unwrap_or(0) * 1024
}
