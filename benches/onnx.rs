//! ONNX Runtime on a checkpoint of the true 0.6B shape: time by batch, what the plan of batches and
//! the keys and values of a prompt save, and memory by length.
//!
//! `QWEN3_BENCH_CHECKPOINT` names the checkpoint, `QWEN3_BENCH_THREADS` the threads (2),
//! `QWEN3_BENCH_PRECISION` is `f32` or `int8`. Arguments choose among `times`, `plan`, `prefix`,
//! `memory` and `long`, a text of 32,768 tokens, which runs only when it is named. With `--serve` it
//! answers on stdout, in milliseconds of the clock and of the processor, each line `ROWS TOKENS` of
//! stdin: so `benches/hand_written.py` takes turns with it.
#![allow(missing_docs, reason = "a program")]
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a program")]

use std::io::BufRead;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::Instant;

use qwen3_embedding::{
    BackendChoice, Device, EmbedOptions, Embedder, EmbedderBuilder, Precision, Prompt,
};

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
    let started = Instant::now();
    let mut embedder = builder(&dir).build().unwrap();
    let load = started.elapsed().as_secs_f64();
    if std::env::args().any(|argument| argument == "--serve") {
        return serve(&mut embedder);
    }
    let info = embedder.backend();
    println!(
        "{} {}, {}, {} threads",
        info.backend,
        info.library_version,
        info.precision,
        threads()
    );
    println!(
        "load {load:.2} s, weights {} MiB, resident {} MiB",
        weights(&embedder) >> 20,
        resident("VmRSS") >> 20
    );
    let chosen: Vec<String> = std::env::args().skip(1).collect();
    let all = !chosen
        .iter()
        .any(|name| ["times", "plan", "prefix", "memory", "long"].contains(&name.as_str()));
    let wants = |name: &str| all || chosen.iter().any(|other| other == name);
    if wants("times") {
        times(&mut embedder);
    }
    if wants("plan") {
        ragged(&mut embedder);
    }
    if wants("prefix") {
        shared_prefix(&mut embedder);
        kept_prompt(&mut embedder);
    }
    if wants("memory") {
        memory(&mut embedder, &[16, 2048, 8192]);
    }
    // Sixteen times the attention of 8,192 tokens, so only when it is named.
    if chosen.iter().any(|name| name == "long") {
        memory(&mut embedder, &[32_768]);
    }
}

fn threads() -> NonZeroUsize {
    let threads = std::env::var("QWEN3_BENCH_THREADS").map_or(2, |n| n.parse().unwrap());
    NonZeroUsize::new(threads).unwrap()
}

fn builder(dir: &Path) -> EmbedderBuilder {
    let precision = match std::env::var("QWEN3_BENCH_PRECISION").as_deref() {
        Ok("int8") => Precision::Int8,
        _ => Precision::F32,
    };
    Embedder::from_dir(dir)
        .backend(BackendChoice::Onnx)
        .device(Device::Cpu)
        .precision(precision)
        .threads(threads())
        .max_batch_tokens(1 << 20)
}

/// Runs what each line asks for.
fn serve(embedder: &mut Embedder) {
    println!("ready");
    for line in std::io::stdin().lock().lines() {
        let line = line.unwrap();
        let (rows, tokens) = line.split_once(' ').unwrap();
        let batch = batch(embedder, rows.parse().unwrap(), tokens.parse().unwrap());
        let before = processor_time();
        let time = run(embedder, &batch);
        println!("{time:.4} {:.4}", processor_time() - before);
    }
}

fn times(embedder: &mut Embedder) {
    println!("\nrows x tokens: median of {ROUNDS} rounds, equal lengths, no padding");
    let cases = [(1, 16), (8, 32), (8, 256)].map(|(rows, tokens)| batch(embedder, rows, tokens));
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
    let apart = batch(embedder, 32, 28);
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

/// 32 sequences of a long-tailed mix, as the plan has them and in batches of a fixed size, sorted or
/// not, padded to the longest. In order of arrival that is 64,000 tokens, which run once.
fn ragged(embedder: &mut Embedder) {
    let mut state = 5u64;
    let mut uniform = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 33) as f64 / (1u64 << 31) as f64
    };
    let lengths: Vec<usize> = (0..32)
        .map(|_| (5.0 * 400f64.powf(uniform().powi(2))) as usize)
        .collect();
    let longest = batch(embedder, lengths.len(), 2000);
    let cut = |place: usize, length: usize| longest[place][..length].to_vec();
    let places = lengths.iter().enumerate();
    let mixed: Vec<Vec<u32>> = places.map(|(place, &length)| cut(place, length)).collect();
    let useful: usize = lengths.iter().sum();
    let before = embedder.work().computed_tokens;
    run(embedder, &mixed);
    let planned = embedder.work().computed_tokens - before;
    println!("\n32 sequences of 5 to 2,000 tokens, {useful} in all");
    for (order, size, rounds) in [
        ("arrival", 32, 1),
        ("length", 8, 3),
        ("length", 4, 3),
        ("length", 1, 3),
    ] {
        let mut places: Vec<usize> = (0..lengths.len()).collect();
        if order == "length" {
            places.sort_by_key(|&place| lengths[place]);
        }
        let fixed: Vec<Vec<Vec<u32>>> = places
            .chunks(size)
            .map(|places| {
                let width = places.iter().map(|&place| lengths[place]).max().unwrap();
                places.iter().map(|&place| cut(place, width)).collect()
            })
            .collect();
        let computed: usize = fixed.iter().flatten().map(Vec::len).sum();
        let [mut fixed_times, mut planned_times] = [Vec::new(), Vec::new()];
        for _ in 0..rounds {
            fixed_times.push(fixed.iter().map(|batch| run(embedder, batch)).sum::<f64>());
            planned_times.push(run(embedder, &mixed));
        }
        let [fixed, plan] = [median(fixed_times), median(planned_times)];
        println!(
            "{size} at a time by {order}, median of {rounds}: useful {:.3} of computed, \
             {fixed:.0} ms; planned {:.3}, {plan:.0} ms, ratio {:.2}",
            useful as f64 / computed as f64,
            useful as f64 / planned as f64,
            fixed / plan
        );
    }
}

/// Queries of about 8 tokens behind the default instruction, whose keys and values are kept, and
/// sequences of as many tokens in all that share none.
fn kept_prompt(embedder: &mut Embedder) {
    let options = EmbedOptions::default().prompt(Prompt::Query);
    println!(
        "\nqueries behind the default instruction, median of {} rounds",
        2 * ROUNDS
    );
    for rows in [1, 8, 32] {
        let queries = (0..rows).map(|row| format!("{} bodies pull each other together", 11 + row));
        let queries: Vec<String> = queries.collect();
        let queries: Vec<&str> = queries.iter().map(String::as_str).collect();
        let tokens = embedder.embed(&queries, &options).unwrap().tokens()[0];
        let apart = batch(embedder, rows, tokens);
        let before = embedder.work();
        let [mut kept, mut whole] = [[const { Vec::new() }; 2], [const { Vec::new() }; 2]];
        for _ in 0..2 * ROUNDS {
            let [processor, started] = [processor_time(), clock()];
            embedder.embed(&queries, &options).unwrap();
            let [processor_kept, clock_kept] = [processor_time(), clock()];
            run(embedder, &apart);
            kept[0].push(clock_kept - started);
            kept[1].push(processor_kept - processor);
            whole[0].push(clock() - clock_kept);
            whole[1].push(processor_time() - processor_kept);
        }
        let after = embedder.work();
        let saved = after.saved_tokens - before.saved_tokens;
        let saved = saved as usize / (2 * ROUNDS * rows);
        println!("{rows} at a time, {tokens} tokens each, of which {saved} are kept");
        for (place, name) in ["clock", "processor"].into_iter().enumerate() {
            let [kept, whole] = [&kept, &whole].map(|times| median(times[place].clone()));
            println!(
                "  by the {name}: whole {whole:.1} ms, kept {kept:.1} ms, ratio {:.2}",
                whole / kept
            );
        }
    }
}

/// Milliseconds since the first call.
fn clock() -> f64 {
    static BEGAN: LazyLock<Instant> = LazyLock::new(Instant::now);
    BEGAN.elapsed().as_secs_f64() * 1e3
}

fn memory(embedder: &mut Embedder, lengths: &[usize]) {
    println!("\none text: peak and then resident memory, less that of the weights");
    let weights = weights(embedder);
    for &tokens in lengths {
        // Resets the peak.
        let _ = std::fs::write("/proc/self/clear_refs", "5");
        let text = batch(embedder, 1, tokens);
        let time = run(embedder, &text) / 1e3;
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
    times.map(median)
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
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
fn batch(embedder: &Embedder, rows: usize, tokens: usize) -> Vec<Vec<u32>> {
    let vocab = embedder.config().vocab_size();
    let id = |row: usize, token: usize| ((row * 7919 + token * 104_729 + 11) % vocab) as u32;
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
