//! `bench qps`: the latency of single queries that arrive at a given rate, whatever answers take.

use std::thread;
use std::time::{Duration, Instant};

use fastrand::Rng;
use qwen3_embedding::service::{
    Request, Response, Service, ServiceError, ServiceOptions, Unavailable,
};
use qwen3_embedding::{EmbedOptions, Prompt};
use serde::Serialize;

use super::machine::{self, Machine};
use super::statistics::Sorted;
use super::workload;
use crate::args::QpsArgs;
use crate::commands::{Running, table, write_json};
use crate::failure::Failure;
use crate::input;
use crate::model::Model;
use crate::output::Output;

/// Queries before those that count, and how many different ones there are where none are given.
const WARM_UP: usize = 8;
const QUERIES: usize = 64;

/// The output of `--json`.
#[derive(Serialize)]
struct Report<'a> {
    version: &'static str,
    machine: Machine,
    /// The system's load before and after; null where it does not tell.
    load: [Option<f64>; 2],
    model: &'a str,
    backend: Running<'a>,
    /// Queries a second that were to arrive.
    rate: f64,
    seconds: u32,
    sent: usize,
    answered: usize,
    /// Why the first query without an answer has none.
    refusal: Option<String>,
    /// Of a query, prompt and EOS included, on average.
    tokens: f64,
    /// From when a query should have arrived to its answer.
    ms: Percentiles,
    target_ms: f64,
    /// Whether all were answered and the 95th percentile is within the target.
    within_target: bool,
}

#[derive(Serialize)]
struct Percentiles {
    p50: f64,
    p95: f64,
    p99: f64,
    max: f64,
}

/// One query's latency and its end.
type Answer = (Duration, Result<Response, ServiceError>);

pub(super) fn qps(args: &QpsArgs) -> Result<(), Failure> {
    let queries = match &args.queries {
        Some(path) => input::read(path)?,
        None => workload::queries_of_words(QUERIES),
    };
    let model = Model::find(&args.model)?;
    let service = Service::load(model.maker(&args.model), ServiceOptions::default());
    let service = service.map_err(failure)?;
    let before = machine::load();
    let answers = replay(args, &service, &queries)?;
    let load = [before, machine::load()];
    let Some(info) = service.info() else {
        return Err(Failure::Runtime("the model is gone".to_owned()));
    };
    let report = report(args, &model.name, (&info.backend).into(), load, &answers);
    Output::stdout().write(|out| match args.json {
        true => write_json(out, &report),
        false => table::pairs(out, &pairs(&report)),
    })
}

/// Sends each query when it is due, whether or not those before are answered.
fn replay(args: &QpsArgs, service: &Service, queries: &[String]) -> Result<Vec<Answer>, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .build();
    let runtime = runtime.map_err(|error| Failure::io("starting", &error))?;
    for query in queries.iter().cycle().take(WARM_UP) {
        runtime
            .block_on(service.embed(request(query)))
            .map_err(failure)?;
    }
    let begun = Instant::now();
    let mut sent = Vec::new();
    for (arrival, query) in arrivals(args).zip(queries.iter().cycle()) {
        let due = begun + arrival;
        thread::sleep(due.saturating_duration_since(Instant::now()));
        let (service, request) = (service.clone(), request(query));
        sent.push(runtime.spawn(async move {
            let result = service.embed(request).await;
            (due.elapsed(), result)
        }));
    }
    let answers = sent.into_iter().map(|answer| runtime.block_on(answer));
    let answers = answers.collect::<Result<Vec<_>, _>>();
    answers.map_err(|error| Failure::Runtime(format!("a query was lost: {error}")))
}

/// When queries arrive, from the beginning on: a Poisson process.
fn arrivals(args: &QpsArgs) -> impl Iterator<Item = Duration> {
    let mut rng = Rng::with_seed(4);
    let (rate, end) = (args.rate, f64::from(args.seconds));
    let next = move |now: &mut f64| {
        // 1 - f64() is above 0.
        *now -= (1.0 - rng.f64()).ln() / rate;
        (*now < end).then(|| Duration::from_secs_f64(*now))
    };
    let mut next = next;
    let mut now = 0.0;
    std::iter::from_fn(move || next(&mut now))
}

fn request(query: &str) -> Request {
    Request::texts([query]).options(EmbedOptions::default().prompt(Prompt::Query))
}

fn failure(error: ServiceError) -> Failure {
    match error {
        ServiceError::Unavailable(Unavailable::LoadFailed(error)) => {
            Failure::Runtime(error.to_string())
        }
        error => Failure::Runtime(error.to_string()),
    }
}

fn report<'a>(
    args: &QpsArgs,
    model: &'a str,
    backend: Running<'a>,
    load: [Option<f64>; 2],
    answers: &[Answer],
) -> Report<'a> {
    let answered = || {
        answers
            .iter()
            .filter_map(|(time, result)| Some((time, result.as_ref().ok()?)))
    };
    let refusal = answers.iter().find_map(|(_, result)| result.as_ref().err());
    let count = answered().count();
    let times = Sorted::of(answered().map(|(&time, _)| time));
    let tokens: usize = answered()
        .map(|(_, response)| response.total_tokens())
        .sum();
    let ms = Percentiles {
        p50: times.median(),
        p95: times.percentile(95.0),
        p99: times.percentile(99.0),
        max: times.percentile(100.0),
    };
    Report {
        version: env!("CARGO_PKG_VERSION"),
        machine: Machine::this(),
        load,
        model,
        backend,
        rate: args.rate,
        seconds: args.seconds,
        sent: answers.len(),
        answered: count,
        refusal: refusal.map(ToString::to_string),
        tokens: tokens as f64 / count.max(1) as f64,
        within_target: count == answers.len() && ms.p95 <= args.target,
        ms,
        target_ms: args.target,
    }
}

fn pairs(report: &Report<'_>) -> Vec<(&'static str, String)> {
    let (backend, ms) = (&report.backend, &report.ms);
    let reached = match report.within_target {
        true => "reached",
        false => "missed",
    };
    let refusal = report
        .refusal
        .iter()
        .map(|reason| format!("; the first other: {reason}"));
    let load = report
        .load
        .map(|load| load.map_or("unknown".to_owned(), |load| format!("{load:.1}")));
    vec![
        ("program", format!("qwen3-embed {}", report.version)),
        ("machine", report.machine.to_string()),
        ("load", format!("{} before, {} after", load[0], load[1])),
        ("model", report.model.to_owned()),
        ("backend", backend.to_string()),
        ("precision", backend.precision.clone()),
        (
            "queries",
            format!(
                "{} in {} s, {} a second on average, {:.1} tokens each",
                report.sent, report.seconds, report.rate, report.tokens
            ),
        ),
        (
            "answered",
            format!("{}{}", report.answered, refusal.collect::<String>()),
        ),
        ("p50", format!("{:.2} ms", ms.p50)),
        ("p95", format!("{:.2} ms", ms.p95)),
        ("p99", format!("{:.2} ms", ms.p99)),
        ("max", format!("{:.2} ms", ms.max)),
        (
            "target",
            format!(
                "p95 within {} ms at {} queries/s: {reached}",
                report.target_ms, report.rate
            ),
        ),
    ]
}
