//! The operations added up, under the roofline.

use std::collections::BTreeMap;
use std::io::{self, Write};

use qwen3_embedding::Peaks;
use serde::Serialize;

use super::op::{Cost, Op};
use crate::bench::Machine;
use crate::commands::{Running, table};

/// The output of `--json`.
#[derive(Serialize)]
pub(super) struct Report<'a> {
    pub(super) version: &'static str,
    pub(super) machine: Machine,
    pub(super) model: &'a str,
    pub(super) backend: Running<'a>,
    pub(super) batch: usize,
    /// Tokens of each text.
    pub(super) length: usize,
    /// Forward passes that were timed.
    pub(super) runs: u32,
    /// The whole pass, without and with its operations timed.
    pub(super) forward_ms: f64,
    pub(super) profiled_ms: f64,
    pub(super) peaks: Roofline,
    /// Longest first.
    pub(super) ops: Vec<Row>,
    /// In order; the operations outside the layers last.
    pub(super) layers: Vec<Row>,
    pub(super) total: Row,
}

/// What the machine reaches at best; null where it was not measured.
#[derive(Clone, Copy, Serialize)]
pub(super) struct Roofline {
    pub(super) flops_per_second: Option<f64>,
    pub(super) int8_flops_per_second: Option<f64>,
    pub(super) bytes_per_second: Option<f64>,
}

/// Operations together, for one forward pass.
#[derive(Serialize)]
pub(super) struct Row {
    pub(super) name: String,
    pub(super) count: f64,
    pub(super) ms: f64,
    /// Of the time of all.
    pub(super) share: f64,
    pub(super) bytes: f64,
    pub(super) flops: f64,
    /// The least time that the roofline allows over the time taken; null where that is not known.
    pub(super) of_roofline: Option<f64>,
}

#[derive(Default)]
struct Sum {
    count: usize,
    ns: f64,
    bytes: f64,
    flops: f64,
    least_ns: Option<f64>,
}

impl From<Peaks> for Roofline {
    fn from(peaks: Peaks) -> Self {
        Self {
            flops_per_second: peaks.flops,
            int8_flops_per_second: peaks.int8_flops,
            bytes_per_second: peaks.bytes,
        }
    }
}

impl Roofline {
    /// Nanoseconds; none where something that is needed was not measured.
    fn least_ns(&self, cost: Cost) -> Option<f64> {
        let seconds = |work: f64, rate: Option<f64>| match (work > 0.0, rate) {
            (false, _) => Some(0.0),
            (true, rate) => rate.map(|rate| work / rate),
        };
        let compute = seconds(cost.flops, self.flops_per_second)?
            + seconds(cost.int8_flops, self.int8_flops_per_second)?;
        Some(compute.max(seconds(cost.bytes, self.bytes_per_second)?) * 1e9)
    }
}

impl Sum {
    fn add(&mut self, op: &Op, roofline: &Roofline) {
        let cost = op.cost();
        let least = roofline.least_ns(cost);
        self.least_ns = match self.count {
            0 => least,
            _ => self.least_ns.zip(least).map(|(sum, least)| sum + least),
        };
        self.count += 1;
        self.ns += op.ns;
        self.bytes += cost.bytes;
        self.flops += cost.flops + cost.int8_flops;
    }

    fn row(&self, name: String, runs: u32, all_ns: f64) -> Row {
        let runs = f64::from(runs);
        Row {
            name,
            count: self.count as f64 / runs,
            ms: self.ns / runs / 1e6,
            share: self.ns / all_ns,
            bytes: self.bytes / runs,
            flops: self.flops / runs,
            of_roofline: self.least_ns.map(|least| least / self.ns),
        }
    }
}

/// By kind, by layer, and all.
pub(super) fn rows(ops: &[Op], roofline: &Roofline, runs: u32) -> (Vec<Row>, Vec<Row>, Row) {
    let (mut kinds, mut layers) = (BTreeMap::new(), BTreeMap::new());
    let mut all = Sum::default();
    for op in ops {
        kinds
            .entry(&op.kind)
            .or_insert_with(Sum::default)
            .add(op, roofline);
        // Those outside come after the last layer.
        let place = op.layer.unwrap_or(usize::MAX);
        layers
            .entry(place)
            .or_insert_with(Sum::default)
            .add(op, roofline);
        all.add(op, roofline);
    }
    let kinds = kinds
        .iter()
        .map(|(kind, sum)| sum.row((*kind).clone(), runs, all.ns));
    let mut kinds: Vec<Row> = kinds.collect();
    kinds.sort_by(|a, b| b.ms.total_cmp(&a.ms));
    let layers = layers.iter().map(|(&layer, sum)| {
        let name = match layer {
            usize::MAX => "outside".to_owned(),
            layer => layer.to_string(),
        };
        sum.row(name, runs, all.ns)
    });
    (
        kinds,
        layers.collect(),
        all.row("all".to_owned(), runs, all.ns),
    )
}

pub(super) fn write_tables(out: &mut dyn Write, report: &Report<'_>) -> io::Result<()> {
    let backend = &report.backend;
    let giga = |rate: Option<f64>, unit: &str| match rate {
        Some(rate) => format!("{:.1} {unit}", rate / 1e9),
        None => "not measured".to_owned(),
    };
    let peaks = &report.peaks;
    let int8 = peaks.int8_flops_per_second;
    let int8 = int8.map(|rate| format!(", in int8 {}", giga(Some(rate), "GFLOP/s")));
    let products = giga(peaks.flops_per_second, "GFLOP/s");
    let pass = format!("{} x {} tokens", report.batch, report.length);
    table::pairs(
        out,
        &[
            ("program", format!("qwen3-embed {}", report.version)),
            ("machine", report.machine.to_string()),
            (
                "products",
                format!("{products}{}", int8.unwrap_or_default()),
            ),
            ("memory", giga(peaks.bytes_per_second, "GB/s")),
            ("model", report.model.to_owned()),
            ("backend", backend.to_string()),
            ("precision", backend.precision.clone()),
            (
                "pass",
                format!(
                    "{pass}: {:.2} ms, {:.2} ms with its operations timed, means of {}",
                    report.forward_ms, report.profiled_ms, report.runs
                ),
            ),
        ],
    )?;
    for (what, rows) in [("operation", &report.ops), ("layer", &report.layers)] {
        writeln!(out)?;
        let names = [
            what,
            "count",
            "ms",
            "%",
            "MB",
            "GFLOP",
            "GB/s",
            "GFLOP/s",
            "% of roofline",
        ];
        let rows = rows.iter().chain([&report.total]).map(cells);
        table::columns(out, &names, &rows.collect::<Vec<_>>())?;
    }
    Ok(())
}

fn cells(row: &Row) -> Vec<String> {
    let seconds = row.ms / 1e3;
    vec![
        row.name.clone(),
        format!("{:.0}", row.count),
        format!("{:.3}", row.ms),
        format!("{:.1}", row.share * 1e2),
        format!("{:.1}", row.bytes / 1e6),
        format!("{:.3}", row.flops / 1e9),
        format!("{:.1}", row.bytes / 1e9 / seconds),
        format!("{:.1}", row.flops / 1e9 / seconds),
        match row.of_roofline {
            Some(part) => format!("{:.0}", part * 1e2),
            None => "-".to_owned(),
        },
    ]
}
