//! Micro-batching pays: many callers with one text each against one caller that posts full batches.
//!
//! The same 512 texts of 4 to 60 words through one service, f32, ONNX Runtime on one thread (more
//! would measure how a busy machine wakes them), tokenised by the service's own threads. The ways
//! take turns in one run; what counts is the ratio of their medians, printed at the end with the
//! padding of each. `QWEN3_BENCH_MODEL` names a model's directory instead of the built-in one,
//! `QWEN3_BENCH_TEXTS` the number of texts.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use qwen3_embedding::service::{Lane, Request, Service, ServiceOptions, Stats};
use qwen3_embedding::{BackendChoice, Embedder};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

/// Callers that each wait for an answer before they ask again.
const CALLERS: usize = 64;
const TEXTS_OF_A_POST: usize = 64;
const ROUNDS: usize = 15;

/// Sends all texts through the service.
type Way = fn(&Runtime, &Service, &[String]);

fn main() {
    let texts = texts(setting("QWEN3_BENCH_TEXTS").map_or(512, |n| n.parse().unwrap()));
    let runtime = Runtime::new().unwrap();
    let service = service();
    let ways: [(&str, Way); 3] = [
        ("one caller, full batches", one_caller),
        ("64 callers, one text each", many_callers),
        ("one caller, one text each", one_by_one),
    ];
    let mut times = ways.map(|_| Vec::new());
    let mut counted = ways.map(|_| (0, 0, 0));
    for _ in 0..ROUNDS {
        for (way, (_, run)) in ways.iter().enumerate() {
            let before = service.stats();
            let begun = Instant::now();
            run(&runtime, &service, &texts);
            times[way].push(begun.elapsed());
            counted[way] = difference(&before, &service.stats());
        }
    }
    let medians = times.map(median);
    println!(
        "{} texts, medians of {ROUNDS} rounds that take turns:",
        texts.len()
    );
    for (way, (name, _)) in ways.iter().enumerate() {
        let (batches, tokens, computed) = counted[way];
        println!(
            "{name}: {:.1} ms, throughput {:.0} % of full batches, {batches} batches, {tokens} useful of {computed} computed tokens",
            medians[way].as_secs_f64() * 1e3,
            100.0 * medians[0].as_secs_f64() / medians[way].as_secs_f64(),
        );
    }
}

fn one_caller(runtime: &Runtime, service: &Service, texts: &[String]) {
    for post in texts.chunks(TEXTS_OF_A_POST) {
        let request = Request::texts(post.iter().cloned()).lane(Lane::Bulk);
        runtime.block_on(service.embed(request)).unwrap();
    }
}

fn many_callers(runtime: &Runtime, service: &Service, texts: &[String]) {
    runtime.block_on(async {
        let mut callers = JoinSet::new();
        for own in texts.chunks(texts.len().div_ceil(CALLERS)) {
            let (service, own) = (service.clone(), own.to_vec());
            callers.spawn(async move {
                for text in own {
                    service.embed(Request::texts([text])).await.unwrap();
                }
            });
        }
        callers.join_all().await;
    });
}

fn one_by_one(runtime: &Runtime, service: &Service, texts: &[String]) {
    for text in texts {
        let request = Request::texts([text.clone()]);
        runtime.block_on(service.embed(request)).unwrap();
    }
}

/// Batches, useful and computed tokens.
fn difference(before: &Stats, after: &Stats) -> (u64, u64, u64) {
    (
        after.batch_rows.count() - before.batch_rows.count(),
        after.tokens - before.tokens,
        after.computed_tokens - before.computed_tokens,
    )
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn service() -> Service {
    let tiny = concat!(env!("CARGO_MANIFEST_DIR"), "/models/tiny");
    let dir = PathBuf::from(setting("QWEN3_BENCH_MODEL").unwrap_or(tiny.to_owned()));
    let make = move || {
        Embedder::from_dir(&dir)
            .backend(BackendChoice::Onnx)
            .threads(NonZeroUsize::MIN)
            .build()
    };
    Service::load(make, ServiceOptions::default()).unwrap()
}

fn texts(count: usize) -> Vec<String> {
    let word = |i: usize| ["gravity", "pulls", "two", "bodies", "together", "always"][i % 6];
    let lengths = (0..count).map(|i| 4 + (i * 29) % 57);
    lengths
        .map(|words| (0..words).map(word).collect::<Vec<_>>().join(" "))
        .collect()
}

fn setting(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
