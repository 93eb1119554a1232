//! Attention of one layer of the 0.6B, head norms and rotary embedding within, two threads. Answers each line `ROWS TOKENS` of stdin with
//! milliseconds of the processor and with the peak of a run beside its inputs in MiB: so
//! `benches/attention.py` takes turns with it. Linux only.
#![allow(missing_docs, reason = "a program")]
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a program")]

use std::fs;
use std::io::{BufRead, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use kernels::{Arrays, Asking, Attention, Heads, Tasks};

const THREADS: usize = 2;

fn main() {
    if !std::env::args().any(|argument| argument == "--serve") {
        println!("nothing measured: benches/attention.py starts this program");
        return;
    }
    println!("ready");
    for line in std::io::stdin().lock().lines() {
        let line = line.unwrap();
        let mut numbers = line.split_whitespace().map(|part| part.parse().unwrap());
        let [rows, tokens] = [(); 2].map(|()| numbers.next().unwrap());
        let [time, peak] = measure(rows, tokens);
        println!("{time} {peak}");
        std::io::stdout().flush().unwrap();
    }
}

fn measure(sequences: usize, tokens: usize) -> [f64; 2] {
    let heads = Heads {
        sequences,
        tokens,
        past: 0,
        heads: 16,
        key_value_heads: 8,
        size: 128,
    };
    let numbers = |heads: usize| -> Vec<f32> {
        let count = sequences * tokens * heads * 128;
        (0..count)
            .map(|i| (i * 89 % 257) as f32 / 128.0 - 1.0)
            .collect()
    };
    let (queries, keys, values) = (numbers(16), numbers(8), numbers(8));
    let (norm, angles) = (vec![1.0; 128], vec![0.5; tokens * 64]);
    let arrays = Arrays {
        queries: &queries,
        keys: &keys,
        values: &values,
        past: [&[]; 2],
        norms: [&norm; 2],
        angles: [&angles; 2],
    };
    let before = resident("VmRSS:");
    fs::write("/proc/self/clear_refs", "5").unwrap();
    let mut output = vec![0.0; queries.len()];
    let runs = (8192 / (sequences * tokens)).clamp(1, 512);
    let started = processor_time();
    for _ in 0..runs {
        let attention = Attention::new(heads, Asking::All, arrays, 1e-6, &mut output, THREADS);
        run(&attention.unwrap());
    }
    let time = (processor_time() - started) / runs as f64;
    [time, (resident("VmHWM:") - before) as f64 / 1024.0]
}

/// Runs all tasks, each thread one after another.
fn run(work: &impl Tasks) {
    let next = AtomicUsize::new(0);
    let some = || {
        loop {
            match next.fetch_add(1, Ordering::Relaxed) {
                task if task < work.tasks() => work.run(task),
                _ => return,
            }
        }
    };
    thread::scope(|scope| {
        (1..THREADS).for_each(|_| drop(scope.spawn(some)));
        some();
    });
}

/// Milliseconds that all threads have had, also those that have ended.
#[allow(unsafe_code, reason = "a call of the system")]
fn processor_time() -> f64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: it writes to a place that lives through the call.
    let failed = unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut time) };
    assert_eq!(failed, 0);
    time.tv_sec as f64 * 1e3 + time.tv_nsec as f64 / 1e6
}

/// A figure of this process's memory, in KiB.
fn resident(key: &str) -> i64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(key)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
