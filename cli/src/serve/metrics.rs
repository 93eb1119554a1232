//! `/metrics`: what is counted, in Prometheus' text format.

mod text;

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use axum::http::StatusCode;
use qwen3_embedding::service::{Outcomes, Stats};

use text::Text;

/// Upper bounds, in seconds, of the time of a request.
const SECONDS: [f64; 14] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
];

/// What the server counts beside its service.
#[derive(Default)]
pub(super) struct Metrics {
    requests: Mutex<BTreeMap<(String, u16), u64>>,
    seconds: Mutex<BTreeMap<String, Seconds>>,
    refused_connections: Mutex<u64>,
}

#[derive(Default, Clone, Copy)]
struct Seconds {
    /// By bound, and one above all bounds; not cumulative.
    counts: [u64; SECONDS.len() + 1],
    sum: f64,
}

/// What requests take up now.
#[derive(Clone, Copy)]
pub(super) struct Held {
    pub(super) connections: usize,
    pub(super) body_bytes: usize,
}

impl Metrics {
    /// Counts an answered request. Routes are those of the router, so there are few.
    pub(super) fn answered(&self, route: &str, status: StatusCode, time: Duration) {
        let key = (route.to_owned(), status.as_u16());
        *lock(&self.requests).entry(key).or_default() += 1;
        let time = time.as_secs_f64();
        let mut seconds = lock(&self.seconds);
        let seconds = seconds.entry(route.to_owned()).or_default();
        seconds.counts[SECONDS.partition_point(|&bound| bound < time)] += 1;
        seconds.sum += time;
    }

    pub(super) fn refused_connection(&self) {
        *lock(&self.refused_connections) += 1;
    }

    /// Everything, with what the service counts.
    pub(super) fn render(&self, stats: &Stats, held: Held) -> String {
        let mut out = Text::default();
        self.http(&mut out, held);
        outcomes(&mut out, &stats.requests);
        queue(&mut out, stats);
        batches(&mut out, stats);
        model(&mut out, stats);
        out.finish()
    }

    fn http(&self, out: &mut Text, held: Held) {
        out.family(
            "http_requests_total",
            "counter",
            "Answers by route and status.",
        );
        for ((route, status), count) in lock(&self.requests).iter() {
            let status = status.to_string();
            out.sample(&[("route", route), ("status", &status)], *count as f64);
        }
        let help = "Seconds from a request's head to its answer's.";
        out.family("http_request_duration_seconds", "histogram", help);
        for (route, seconds) in lock(&self.seconds).iter() {
            out.histogram(&[("route", route)], &SECONDS, &seconds.counts, seconds.sum);
        }
        let help = "Open connections.";
        out.value("http_connections", "gauge", help, held.connections as f64);
        let help = "Bytes of the bodies that are being read or served.";
        out.value("http_body_bytes", "gauge", help, held.body_bytes as f64);
        out.value(
            "http_connections_refused_total",
            "counter",
            "Connections beyond the limit.",
            *lock(&self.refused_connections) as f64,
        );
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // Counters are right whatever happened to another thread.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn outcomes(out: &mut Text, outcomes: &Outcomes) {
    out.family(
        "requests_total",
        "counter",
        "Requests to the model by how they ended.",
    );
    for (outcome, count) in [
        ("answered", outcomes.answered),
        ("invalid", outcomes.invalid),
        ("overloaded", outcomes.overloaded),
        ("expired", outcomes.expired),
        ("cancelled", outcomes.cancelled),
        ("unavailable", outcomes.unavailable),
        ("failed", outcomes.failed),
    ] {
        out.sample(&[("outcome", outcome)], count as f64);
    }
}

fn queue(out: &mut Text, stats: &Stats) {
    let lanes = [("query", &stats.queries), ("bulk", &stats.bulk)];
    let families = [
        (
            "queue_untokenised_requests",
            "Requests that wait for a tokenizer.",
        ),
        ("queue_sequences", "Sequences that wait for the device."),
        ("queue_tokens", "Tokens that wait for the device."),
    ];
    for (index, (name, help)) in families.into_iter().enumerate() {
        out.family(name, "gauge", help);
        for (lane, waiting) in lanes {
            let values = [waiting.untokenised, waiting.sequences, waiting.tokens];
            out.sample(&[("lane", lane)], values[index] as f64);
        }
    }
    let help = "Inputs accepted and not yet answered.";
    out.value(
        "accepted_inputs",
        "gauge",
        help,
        stats.accepted_inputs as f64,
    );
    let help = "Seconds that requests waited, for a tokenizer and for the device.";
    out.measured("queue_seconds", help, &stats.queue_seconds);
}

fn batches(out: &mut Text, stats: &Stats) {
    let help = "Tokens of the inputs, prompts and EOS included.";
    out.value("tokens_total", "counter", help, stats.tokens as f64);
    let help = "Tokens that were computed, padding included, kept prompts not.";
    out.value(
        "computed_tokens_total",
        "counter",
        help,
        stats.computed_tokens as f64,
    );
    let help = "Share of the computed tokens that was padding.";
    let padding = stats.padding_tokens as f64 / stats.computed_tokens.max(1) as f64;
    out.value("padding_ratio", "gauge", help, padding);
    let help = "Tokens of prompts that were not computed, since their keys and values were kept.";
    out.value(
        "saved_tokens_total",
        "counter",
        help,
        stats.saved_tokens as f64,
    );
    let counts = [
        (
            "prefix_hits_total",
            "Forward passes behind a prompt that was kept.",
            stats.prefix_hits,
        ),
        (
            "prefix_misses_total",
            "Forward passes that met a prompt which was not kept.",
            stats.prefix_misses,
        ),
    ];
    for (name, help, count) in counts {
        out.value(name, "counter", help, count as f64);
    }
    let help = "Bytes of keys and values that are kept of prompts.";
    out.value("prefix_bytes", "gauge", help, stats.prefix_bytes as f64);
    out.measured(
        "batch_rows",
        "Sequences of each forward pass.",
        &stats.batch_rows,
    );
    let help = "Seconds that the texts of a request took to tokenise.";
    out.measured("tokenise_seconds", help, &stats.tokenise_seconds);
    out.measured(
        "forward_seconds",
        "Seconds of each forward pass.",
        &stats.forward_seconds,
    );
    let help = "Seconds from acceptance to vectors.";
    out.measured("total_seconds", help, &stats.total_seconds);
}

fn model(out: &mut Text, stats: &Stats) {
    out.value(
        "failures_total",
        "counter",
        "Failures of the model.",
        stats.failures as f64,
    );
    let help = "Times that the model was loaded again after a failure.";
    out.value("reloads_total", "counter", help, stats.reloads as f64);
    let Some(memory) = stats.memory else {
        return;
    };
    out.family(
        "memory_bytes",
        "gauge",
        "Memory of the native library, as far as it tells.",
    );
    let kinds = [
        ("active", Some(memory.active)),
        ("cached", memory.cached),
        ("peak", memory.peak),
    ];
    for (kind, bytes) in kinds {
        if let Some(bytes) = bytes {
            out.sample(&[("kind", kind)], bytes as f64);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_counted_by_route_and_status() {
        let metrics = Metrics::default();
        for (status, milliseconds) in [(200, 2), (200, 40), (400, 1)] {
            let status = StatusCode::from_u16(status).unwrap();
            metrics.answered("/embed", status, Duration::from_millis(milliseconds));
        }
        let mut text = Text::default();
        metrics.http(
            &mut text,
            Held {
                connections: 3,
                body_bytes: 40,
            },
        );
        let text = text.finish();
        for line in [
            "qwen3_embed_http_requests_total{route=\"/embed\",status=\"200\"} 2",
            "qwen3_embed_http_requests_total{route=\"/embed\",status=\"400\"} 1",
            "qwen3_embed_http_request_duration_seconds_bucket{route=\"/embed\",le=\"0.001\"} 1",
            "qwen3_embed_http_request_duration_seconds_bucket{route=\"/embed\",le=\"0.025\"} 2",
            "qwen3_embed_http_request_duration_seconds_bucket{route=\"/embed\",le=\"+Inf\"} 3",
            "qwen3_embed_http_request_duration_seconds_count{route=\"/embed\"} 3",
            "qwen3_embed_http_connections 3",
            "qwen3_embed_http_body_bytes 40",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
    }
}
