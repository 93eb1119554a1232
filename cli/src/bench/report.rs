//! What was measured, for programs and as a table.

use std::io::{self, Write};
use std::time::Duration;

use qwen3_embedding::{EmbedOptions, Embedder};
use serde::{Deserialize, Serialize};

use super::machine::Machine;
use super::run::Sample;
use super::statistics::Sorted;
use super::workload::Case;
use crate::args::ModelArgs;
use crate::commands::{Running, table};
use crate::failure::Failure;

/// The output of `--json`.
#[derive(Serialize)]
pub(super) struct Report<'a> {
    pub(super) version: &'static str,
    pub(super) machine: Machine,
    /// The system's load before and after; null where it does not tell.
    pub(super) load: [Option<f64>; 2],
    pub(super) model: ModelIdentity,
    pub(super) backend: Running<'a>,
    /// Of ONNX Runtime; null for one for each physical core.
    pub(super) threads: Option<usize>,
    pub(super) cases: Vec<CaseReport>,
}

/// The model, whatever it is called and whatever precision runs it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ModelIdentity {
    pub(super) name: String,
    /// As in its fingerprint: a commit, or a hash of what it computes.
    pub(super) revision: String,
    pub(super) tokenizer: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct CaseReport {
    pub(super) case: String,
    /// Texts of a request.
    pub(super) batch: usize,
    /// Tokens of each text; null where they differ.
    pub(super) length: Option<usize>,
    pub(super) ms: Milliseconds,
    /// Tokens of a request, on average.
    pub(super) tokens: Tokens,
    pub(super) tokens_per_second: Tokens,
    /// Computed over useful tokens.
    pub(super) padding_ratio: f64,
    /// Medians of the time outside the forward pass.
    pub(super) host_ms: Host,
    pub(super) peak_bytes: Option<u64>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Milliseconds {
    pub(super) median: f64,
    pub(super) p95: f64,
    /// Of each request, ascending.
    pub(super) all: Vec<f64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct Tokens {
    pub(super) useful: f64,
    pub(super) computed: f64,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Host {
    pub(super) total: f64,
    pub(super) tokenise: f64,
    pub(super) plan: f64,
    pub(super) finish: f64,
}

impl<'a> Report<'a> {
    pub(super) fn new(
        args: &ModelArgs,
        name: &str,
        embedder: &'a Embedder,
        load: [Option<f64>; 2],
        cases: Vec<CaseReport>,
    ) -> Result<Self, Failure> {
        Ok(Self {
            version: env!("CARGO_PKG_VERSION"),
            machine: Machine::this(),
            load,
            model: ModelIdentity::of(name, embedder)?,
            backend: embedder.backend().into(),
            threads: args.threads(),
            cases,
        })
    }
}

impl ModelIdentity {
    fn of(name: &str, embedder: &Embedder) -> Result<Self, Failure> {
        let space = embedder.space(&EmbedOptions::default())?;
        Ok(Self {
            name: name.to_owned(),
            revision: space.revision,
            tokenizer: space.tokenizer,
        })
    }
}

impl CaseReport {
    pub(super) fn new(case: &Case, samples: &[Sample]) -> Self {
        let times = Sorted::of(samples.iter().map(|sample| sample.time));
        let mean = |tokens: fn(&Sample) -> u64| {
            samples.iter().map(tokens).sum::<u64>() as f64 / samples.len() as f64
        };
        let tokens = Tokens {
            useful: mean(|sample| sample.spans.useful),
            computed: mean(|sample| sample.spans.computed),
        };
        let seconds = times.median() / 1e3;
        let median =
            |part: &dyn Fn(&Sample) -> Duration| Sorted::of(samples.iter().map(part)).median();
        let span = |name: &'static str| median(&move |sample| sample.spans.of(name).all);
        Self {
            case: case.name.clone(),
            batch: case.batch,
            length: case.length,
            tokens,
            tokens_per_second: Tokens {
                useful: tokens.useful / seconds,
                computed: tokens.computed / seconds,
            },
            padding_ratio: tokens.computed / tokens.useful,
            host_ms: Host {
                total: median(&|sample| sample.time.saturating_sub(sample.spans.of("forward").all)),
                tokenise: span("tokenise"),
                plan: span("plan"),
                finish: span("finish"),
            },
            peak_bytes: samples.iter().filter_map(|sample| sample.peak).max(),
            ms: Milliseconds {
                median: times.median(),
                p95: times.percentile(95.0),
                all: times.into_vec(),
            },
        }
    }
}

/// The machine, the model and what runs it; a fact a line.
pub(super) fn head(report: &Report<'_>) -> Vec<(&'static str, String)> {
    let backend = &report.backend;
    let threads = match report.threads {
        Some(threads) => threads.to_string(),
        None => "one for each physical core".to_owned(),
    };
    let load = report
        .load
        .map(|load| load.map_or("unknown".to_owned(), |load| format!("{load:.1}")));
    vec![
        ("program", format!("qwen3-embed {}", report.version)),
        ("machine", report.machine.to_string()),
        ("load", format!("{} before, {} after", load[0], load[1])),
        ("model", report.model.name.clone()),
        ("backend", backend.to_string()),
        ("precision", backend.precision.clone()),
        ("threads", threads),
    ]
}

/// A line for each case; `ratios` are those to a baseline, if there is one.
pub(super) fn write_table(
    out: &mut dyn Write,
    report: &Report<'_>,
    ratios: Option<&[Option<f64>]>,
) -> io::Result<()> {
    table::pairs(out, &head(report))?;
    writeln!(out)?;
    let mut names = vec![
        "case",
        "median ms",
        "p95 ms",
        "tokens/s",
        "computed/s",
        "computed/asked",
        "host ms",
        "peak MB",
    ];
    names.extend(ratios.map(|_| "times faster"));
    let rows = report.cases.iter().enumerate().map(|(place, case)| {
        let mut row = cells(case);
        row.extend(ratios.map(|ratios| match ratios.get(place) {
            Some(Some(ratio)) => format!("{ratio:.2}"),
            _ => "-".to_owned(),
        }));
        row
    });
    table::columns(out, &names, &rows.collect::<Vec<_>>())
}

fn cells(case: &CaseReport) -> Vec<String> {
    vec![
        case.case.clone(),
        format!("{:.2}", case.ms.median),
        format!("{:.2}", case.ms.p95),
        format!("{:.0}", case.tokens_per_second.useful),
        format!("{:.0}", case.tokens_per_second.computed),
        format!("{:.2}", case.padding_ratio),
        format!("{:.3}", case.host_ms.total),
        case.peak_bytes.map_or("unknown".to_owned(), |bytes| {
            format!("{:.0}", bytes as f64 / 1e6)
        }),
    ]
}
