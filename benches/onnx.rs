//! ONNX Runtime on a checkpoint of the true 0.6B shape: time by batch, what a shared prefix saves,
//! and memory by length.
//!
//! `QWEN3_BENCH_CHECKPOINT` names the checkpoint, `QWEN3_BENCH_THREADS` the threads (2). Arguments
//! choose among `times`, `prefix` and `memory`. With `--serve` it answers on stdout, in milliseconds
//! of the clock and of the processor, each line `ROWS TOKENS` of stdin: so
//! `benches/hand_written.py` takes turns with it.
#![allow(missing_docs, reason = "a program")]
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a program")]

use std::io::BufRead;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Instant;

use qwen3_embedding::{BackendChoice, Device, EmbedOptions, Embedder};

const CHECKPOINT: &str = "QWEN3_BENCH_CHECKPOINT";
const ROUNDS: usize = 7;

fn main() {
    let Some(dir) = std::env::var_os(CHECKPOINT).map(PathBuf::from) else {
        println!(
            "nothing measured: {CHECKPOINT} names no checkpoint; make one with\n  \
             python models/make_checkpoint.py --shape 0.6b --tokenizer models/tiny DIR"
        );
        return;
    };
    let threads = std::env::var("QWEN3_BENCH_THREADS").map_or(2, |n| n.parse().unwrap());
    let started = Instant::now();
    let mut embedder = Embedder::from_dir(dir)
        .backend(BackendChoice::Onnx)
        .device(Device::Cpu)
        .threads(NonZeroUsize::new(threads).unwrap())
        .max_batch_tokens(1 << 20)
        .build()
        .unwrap();
    let load = started.elapsed().as_secs_f64();
    if std::env::args().any(|argument| argument == "--serve") {
        return serve(&mut embedder);
    }
    let info = embedder.backend();
    println!(
        "{} {}, {threads} threads",
        info.backend, info.library_version
    );
    println!(
        "load {load:.2} s, weights {} MiB, resident {} MiB",
        weights(&embedder) >> 20,
        resident("VmRSS") >> 20
    );
    let chosen: Vec<String> = std::env::args().skip(1).collect();
    let all = !chosen
        .iter()
        .any(|name| ["times", "prefix", "memory"].contains(&name.as_str()));
    let wants = |name: &str| all || chosen.iter().any(|other| other == name);
    if wants("times") {
        times(&mut embedder);
    }
    if wants("prefix") {
        shared_prefix(&mut embedder);
    }
    if wants("memory") {
        memory(&mut embedder);
    }
}

/// Runs what each line asks for.
fn serve(embedder: &mut Embedder) {
    println!("ready");
    for line in std::io::stdin().lock().lines() {
        let line = line.unwrap();
        let (rows, tokens) = line.split_once(' ').unwrap();
        let batch = batch(rows.parse().unwrap(), tokens.parse().unwrap());
        let before = processor_time();
        let time = run(embedder, &batch);
        println!("{time:.4} {:.4}", processor_time() - before);
    }
}

fn times(embedder: &mut Embedder) {
    println!("\nrows x tokens: median of {ROUNDS} rounds, equal lengths, no padding");
    let cases = [(1, 16), (8, 32), (8, 256)].map(|(rows, tokens)| batch(rows, tokens));
    for (case, median) in cases.iter().zip(medians(embedder, &cases)) {
        let tokens = case.len() * case[0].len();
        let (rows, width) = (case.len(), case[0].len());
        println!(
            "{rows} x {width}: {median:.1} ms, {:.0} tokens/s",
            tokens as f64 / median * 1e3
        );
    }
}

/// 32 queries of 8 tokens behind an instruction of 20: the same for all, and one for each.
fn shared_prefix(embedder: &mut Embedder) {
    let apart = batch(32, 28);
    let mut together = apart.clone();
    for sequence in &mut together {
        sequence[..20].copy_from_slice(&apart[0][..20]);
    }
    let [apart, together] = medians(embedder, &[apart, together]);
    println!(
        "\n32 queries of 20 + 8 tokens: {apart:.1} ms, with the same 20 {together:.1} ms, ratio {:.2}",
        apart / together
    );
}

fn memory(embedder: &mut Embedder) {
    println!("\none text: peak and then resident memory, less that of the weights");
    let weights = weights(embedder);
    for tokens in [16, 2048, 8192] {
        // Resets the peak.
        let _ = std::fs::write("/proc/self/clear_refs", "5");
        let time = run(embedder, &batch(1, tokens)) / 1e3;
        let [peak, after] =
            ["VmHWM", "VmRSS"].map(|key| resident(key).saturating_sub(weights) >> 20);
        println!("{tokens} tokens: {time:.1} s, peak {peak} MiB, then {after} MiB");
    }
}

/// Milliseconds of each case, run in turns.
fn medians<const N: usize>(embedder: &mut Embedder, cases: &[Vec<Vec<u32>>; N]) -> [f64; N] {
    let mut times = [const { Vec::new() }; N];
    for round in 0..=ROUNDS {
        for (case, times) in cases.iter().zip(&mut times) {
            let time = run(embedder, case);
            if round > 0 {
                times.push(time);
            }
        }
    }
    times.map(|mut times| {
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    })
}

fn run(embedder: &mut Embedder, sequences: &[Vec<u32>]) -> f64 {
    let sequences: Vec<&[u32]> = sequences.iter().map(Vec::as_slice).collect();
    let started = Instant::now();
    embedder
        .embed_token_ids(&sequences, &EmbedOptions::default())
        .unwrap();
    started.elapsed().as_secs_f64() * 1e3
}

/// Sequences that share no first token.
fn batch(rows: usize, tokens: usize) -> Vec<Vec<u32>> {
    let id = |row: usize, token: usize| ((row * 7919 + token * 104_729 + 11) % 151_000) as u32;
    (0..rows)
        .map(|row| (0..tokens).map(|token| id(row, token)).collect())
        .collect()
}

/// Milliseconds of processor time that all threads have had, where the system tells.
fn processor_time() -> f64 {
    let tasks = std::fs::read_dir("/proc/self/task")
        .into_iter()
        .flatten()
        .flatten();
    let times = tasks.filter_map(|task| {
        let text = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<f64>().ok()
    });
    times.sum::<f64>() / 1e6
}

fn weights(embedder: &Embedder) -> usize {
    embedder.memory().unwrap().active
}

/// A figure of /proc/self/status in bytes; 0 where there is none.
fn resident(key: &str) -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with(key));
    let kilobytes = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<usize>().ok());
    kilobytes.unwrap_or(0) * 1024
}
