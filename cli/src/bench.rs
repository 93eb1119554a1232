//! `bench`: what this machine does with a model, measured.

mod baseline;
mod chart;
mod machine;
mod memory;
mod qps;
mod report;
mod run;
mod start;
mod statistics;
mod workload;

use std::time::Duration;

use tracing_subscriber::Layer;

use crate::args::{BenchArgs, BenchCommand};
use crate::commands::write_json;
use crate::failure::Failure;
use crate::messages;
use crate::model::Model;
use crate::output::Output;
use crate::spans::Collector;
use baseline::Baseline;
use chart::Chart;
use report::{CaseReport, Report};
use run::Rounds;

pub(crate) use machine::Machine;
pub(crate) use statistics::milliseconds;
pub(crate) use workload::equal_texts;

/// Runs what was asked for.
pub(crate) fn bench(args: &BenchArgs) -> Result<(), Failure> {
    let collector = Collector::default();
    messages::start_log_beside(collector.clone().with_filter(Collector::filter()))?;
    match &args.other {
        None => requests(args, &collector),
        Some(BenchCommand::Qps(args)) => qps::qps(args),
        Some(BenchCommand::Start(args)) => start::start(args, &collector),
    }
}

/// Times requests of different sizes.
fn requests(args: &BenchArgs, collector: &Collector) -> Result<(), Failure> {
    // What is wrong with a file is found before the work.
    let baseline = args.baseline.as_deref().map(Baseline::read).transpose()?;
    let chart = args.chart.as_deref().map(Chart::at).transpose()?;
    let model = Model::find(&args.model)?;
    let mut embedder = model.builder(&args.model).build()?;
    let cases = workload::cases(args, &embedder)?;
    let rounds = match args.rounds {
        Some(rounds) => Rounds::Exactly(rounds.get()),
        None => Rounds::For(Duration::from_secs(args.seconds.into())),
    };
    let before = machine::load();
    let samples = run::measure(&mut embedder, collector, &cases, &rounds)?;
    let load = [before, machine::load()];
    let measured = cases.iter().zip(&samples);
    let measured = measured.map(|(case, samples)| CaseReport::new(case, samples));
    let report = Report::new(
        &args.model,
        &model.name,
        &embedder,
        load,
        measured.collect(),
    )?;
    let ratios = baseline.as_ref().map(|baseline| baseline.ratios(&report));
    let ratios = ratios.transpose()?;
    if let Some(chart) = chart {
        chart.write(&report)?;
    }
    Output::stdout().write(|out| match args.json {
        true => write_json(out, &report),
        false => {
            report::write_table(out, &report, ratios.as_deref())?;
            match &baseline {
                Some(baseline) => writeln!(out, "\ntimes faster than {}", baseline.described()),
                None => Ok(()),
            }
        }
    })
}
