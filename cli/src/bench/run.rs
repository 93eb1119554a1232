//! Rounds in which the cases take turns, each request timed as a whole and by its parts.

use std::time::{Duration, Instant};

use console::Term;
use qwen3_embedding::{DeviceKind, Embedder};

use super::memory;
use super::workload::Case;
use crate::failure::Failure;
use crate::spans::{Collector, Totals};

const LEAST_ROUNDS: u32 = 3;
const MOST_ROUNDS: u32 = 100;

/// How long to go on.
pub(super) enum Rounds {
    Exactly(u32),
    For(Duration),
}

impl Rounds {
    fn over(&self, done: u32, since: Instant) -> bool {
        match *self {
            Self::Exactly(rounds) => done >= rounds,
            Self::For(time) => {
                done >= MOST_ROUNDS || (done >= LEAST_ROUNDS && since.elapsed() >= time)
            }
        }
    }
}

/// One request of a case.
pub(super) struct Sample {
    pub(super) time: Duration,
    pub(super) spans: Totals,
    /// Bytes.
    pub(super) peak: Option<u64>,
}

/// The samples of each case, in the order of the cases.
pub(super) fn measure(
    embedder: &mut Embedder,
    collector: &Collector,
    cases: &[Case],
    rounds: &Rounds,
) -> Result<Vec<Vec<Sample>>, Failure> {
    let mut samples: Vec<Vec<Sample>> = cases.iter().map(|_| Vec::new()).collect();
    let terminal = Term::stderr();
    for case in cases {
        progress(&terminal, &format!("warming up: {}", case.name));
        run(embedder, collector, case)?;
    }
    let (mut done, begun) = (0, Instant::now());
    while !rounds.over(done, begun) {
        done += 1;
        for (case, samples) in cases.iter().zip(&mut samples) {
            progress(&terminal, &format!("round {done}: {}", case.name));
            samples.extend(run(embedder, collector, case)?);
        }
    }
    progress(&terminal, "");
    Ok(samples)
}

fn run(
    embedder: &mut Embedder,
    collector: &Collector,
    case: &Case,
) -> Result<Vec<Sample>, Failure> {
    let one = |request: &Vec<String>| {
        let texts: Vec<&str> = request.iter().map(String::as_str).collect();
        memory::reset_peak();
        collector.take();
        let begun = Instant::now();
        embedder.embed(&texts, &case.options)?;
        let time = begun.elapsed();
        Ok(Sample {
            time,
            spans: collector.take(),
            peak: peak(embedder)?,
        })
    };
    case.requests.iter().map(one).collect()
}

/// Of the process, or of the device's library where that computes.
fn peak(embedder: &Embedder) -> Result<Option<u64>, Failure> {
    match embedder.backend().device {
        DeviceKind::Cpu => Ok(memory::peak()),
        DeviceKind::Gpu => Ok(embedder.memory()?.peak.map(|bytes| bytes as u64)),
    }
}

/// Says on a terminal what goes on, in place of what it said before.
fn progress(terminal: &Term, text: &str) {
    if terminal.is_term() {
        // There is nowhere left to report a closed stderr to.
        let _ = terminal
            .clear_line()
            .and_then(|()| terminal.write_str(text));
    }
}
