//! `bench start`: from nothing to the first vector, cold and warm, each in a process of its own.

mod once;
mod page_cache;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;
use std::{env, io};

use serde::Serialize;

use super::machine::{self, Machine};
use super::statistics::{Sorted, milliseconds};
use crate::args::StartArgs;
use crate::commands::{table, write_json};
use crate::failure::Failure;
use crate::messages;
use crate::model::Model;
use crate::output::Output;
use crate::spans::Collector;
use once::Once;

/// The output of `--json`.
#[derive(Serialize)]
struct Report<'a> {
    version: &'static str,
    machine: Machine,
    /// The system's load before and after; null where it does not tell.
    load: [Option<f64>; 2],
    model: &'a str,
    backend: String,
    precision: String,
    /// Null where the system does not let files be dropped from its page cache.
    cold: Option<Kind>,
    /// Why there is no cold start, or why it may not be one.
    cold_doubt: Option<String>,
    warm: Kind,
}

/// Medians of the starts of one kind.
#[derive(Serialize)]
struct Kind {
    starts: usize,
    total_ms: f64,
    /// In the order in which they come.
    parts_ms: Vec<(&'static str, f64)>,
    /// Read from the disk; null where the system does not tell.
    read_bytes: Option<u64>,
}

/// One start as the parent saw it.
struct Started {
    total_ms: f64,
    once: Once,
}

pub(super) fn start(args: &StartArgs, collector: &Collector) -> Result<(), Failure> {
    if let Some(dir) = &args.once {
        return once::once(&args.model, dir, collector);
    }
    let model = Model::find(&args.model)?;
    let before = machine::load();
    // Quantises where that is due, and tells which files are read.
    let first = run(again(&model.dir)?)?;
    let next = || -> Result<Started, Failure> {
        let mut command = again(&model.dir)?;
        // What the first start has warned of need not be said again.
        command.env(messages::LOG, "error");
        run(command)
    };
    let (mut cold, mut warm) = (Vec::new(), Vec::new());
    let mut refusal = None;
    for _ in 0..args.rounds.get() {
        match page_cache::drop_files(&first.once.files(&model.dir)) {
            Ok(()) => cold.push(next()?),
            Err(error) => refusal = Some(error.to_string()),
        }
        warm.push(next()?);
    }
    let cold = (!cold.is_empty()).then(|| Kind::of(&cold));
    let report = Report {
        version: env!("CARGO_PKG_VERSION"),
        machine: Machine::this(),
        load: [before, machine::load()],
        model: &model.name,
        cold_doubt: refusal.or_else(|| cold.as_ref().and_then(doubt)),
        backend: first.once.backend,
        precision: first.once.precision,
        cold,
        warm: Kind::of(&warm),
    };
    Output::stdout().write(|out| match args.json {
        true => write_json(out, &report),
        false => write_table(out, &report),
    })
}

/// This program again, to start once with the model in `dir`.
fn again(dir: &Path) -> Result<Command, Failure> {
    let program = env::current_exe().map_err(|error| Failure::io("this program", &error))?;
    let mut command = Command::new(program);
    command
        .args(env::args_os().skip(1))
        .arg("--once")
        .arg(dir)
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    Ok(command)
}

fn run(mut command: Command) -> Result<Started, Failure> {
    let failed = |error| Failure::io("starting a process", &error);
    let begun = Instant::now();
    let mut child = command.spawn().map_err(failed)?;
    let mut line = String::new();
    if let Some(stdout) = child.stdout.take() {
        BufReader::new(stdout)
            .read_line(&mut line)
            .map_err(failed)?;
    }
    let total_ms = milliseconds(begun.elapsed());
    let status = child.wait().map_err(failed)?;
    match serde_json::from_str(&line) {
        Ok(once) if status.success() => Ok(Started { total_ms, once }),
        // It has said why on stderr.
        _ => Err(Failure::Runtime(format!("a start failed: {status}"))),
    }
}

/// Nothing was read from the disk, so the files were in some cache.
fn doubt(cold: &Kind) -> Option<String> {
    match cold.read_bytes {
        Some(1..) => None,
        Some(0) => Some("nothing was read from the disk, so this start was warm too".to_owned()),
        None => Some("the system does not tell what was read from the disk".to_owned()),
    }
}

impl Kind {
    fn of(starts: &[Started]) -> Self {
        let median = |of: &dyn Fn(&Started) -> f64| {
            Sorted::of_milliseconds(starts.iter().map(of).collect()).median()
        };
        let mut parts_ms = vec![(
            "process",
            median(&|start| start.total_ms - start.once.own_ms()),
        )];
        for (place, name) in once::PARTS.iter().enumerate() {
            parts_ms.push((name, median(&|start| start.once.parts_ms[place])));
        }
        parts_ms.push(("other", median(&|start| start.once.other_ms())));
        parts_ms.push(("first vector", median(&|start| start.once.first_ms)));
        let mut read: Vec<Option<u64>> = starts.iter().map(|start| start.once.read_bytes).collect();
        read.sort_unstable();
        Self {
            starts: starts.len(),
            total_ms: median(&|start| start.total_ms),
            parts_ms,
            read_bytes: read[read.len() / 2],
        }
    }
}

fn write_table(out: &mut dyn io::Write, report: &Report<'_>) -> io::Result<()> {
    let load = report
        .load
        .map(|load| load.map_or("unknown".to_owned(), |load| format!("{load:.1}")));
    let head = [
        ("program", format!("qwen3-embed {}", report.version)),
        ("machine", report.machine.to_string()),
        ("load", format!("{} before, {} after", load[0], load[1])),
        ("model", report.model.to_owned()),
        ("backend", report.backend.clone()),
        ("precision", report.precision.clone()),
    ];
    table::pairs(out, &head)?;
    writeln!(out)?;
    let kinds: Vec<(&str, &Kind)> = report
        .cold
        .iter()
        .map(|cold| ("cold ms", cold))
        .chain([("warm ms", &report.warm)])
        .collect();
    let names: Vec<&str> = ["part"]
        .into_iter()
        .chain(kinds.iter().map(|(name, _)| *name))
        .collect();
    let row = |name: &str, of: &dyn Fn(&Kind) -> String| {
        [name.to_owned()]
            .into_iter()
            .chain(kinds.iter().map(|(_, kind)| of(kind)))
            .collect::<Vec<_>>()
    };
    let parts = report.warm.parts_ms.iter().enumerate();
    let mut rows: Vec<Vec<String>> = parts
        .map(|(place, (name, _))| row(name, &|kind| format!("{:.1}", kind.parts_ms[place].1)))
        .collect();
    rows.push(row("total", &|kind| format!("{:.1}", kind.total_ms)));
    rows.push(row("MB from the disk", &|kind| match kind.read_bytes {
        Some(bytes) => format!("{:.1}", bytes as f64 / 1e6),
        None => "unknown".to_owned(),
    }));
    table::columns(out, &names, &rows)?;
    match &report.cold_doubt {
        Some(doubt) => writeln!(out, "\ncold: {doubt}"),
        None => Ok(()),
    }
}
