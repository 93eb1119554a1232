//! What batching and the padding plan are worth, on the built-in model on the CPU.
//!
//! Each group runs two ways of doing the same work in one process, so that their ratio means
//! something where the times do not: 64 texts of 4 to 60 words, f32, ONNX Runtime on its default
//! number of threads.
#![allow(missing_docs, reason = "criterion's macro makes a public function")]
#![allow(clippy::unwrap_used)]

use std::path::Path;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use qwen3_embedding::{BackendChoice, EmbedOptions, Embedder};

const TEXTS: usize = 64;
const MAX_BATCH_TOKENS: usize = 2048;

fn texts() -> Vec<String> {
    let word = |i: usize| ["gravity", "pulls", "two", "bodies", "together", "always"][i % 6];
    let lengths = (0..TEXTS).map(|i| 4 + (i * 29) % 57);
    lengths
        .map(|words| (0..words).map(word).collect::<Vec<_>>().join(" "))
        .collect()
}

fn embedder(max_batch_tokens: usize) -> Embedder {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/tiny");
    Embedder::from_dir(dir)
        .backend(BackendChoice::Onnx)
        .max_batch_tokens(max_batch_tokens)
        .build()
        .unwrap()
}

fn batching(c: &mut Criterion) {
    let texts = texts();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let options = EmbedOptions::default();
    let tokens = embedder(1).embed(&texts, &options).unwrap();
    let useful: usize = tokens.tokens().iter().sum();

    let mut group = c.benchmark_group("64 texts");
    group.throughput(Throughput::Elements(useful as u64));
    for (name, max) in [("one by one", 1), ("micro-batches", MAX_BATCH_TOKENS)] {
        let mut embedder = embedder(max);
        embedder.embed(&texts, &options).unwrap();
        let computed = embedder.work().computed_tokens;
        let id = format!("{name}, {useful} useful of {computed} computed tokens");
        group.bench_function(id, |b| b.iter(|| embedder.embed(&texts, &options).unwrap()));
    }
    group.finish();
}

criterion_group!(benches, batching);
criterion_main!(benches);
