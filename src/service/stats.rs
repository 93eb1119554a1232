//! Counters and histograms of a service.

use std::time::Duration;

use super::error::ServiceError;
use super::request::{Response, Timings};
use crate::backend::{MemoryUse, Work};

/// Upper bounds, in seconds, of the histograms of time.
pub(super) const SECONDS: &[f64] = &[
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
    60.0,
];

/// Upper bounds of the histogram of batch sizes.
pub(super) const ROWS: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0];

/// Everything that a service counts, at one moment. Counters only grow.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Stats {
    /// What waits now in the lane of queries.
    pub queries: Waiting,
    /// What waits now in the lane of bulk.
    pub bulk: Waiting,
    /// Inputs accepted and not yet answered.
    pub accepted_inputs: usize,
    /// Requests by how they ended.
    pub requests: Outcomes,
    /// Tokens that were asked for: prompts and EOS included, padding not.
    pub tokens: u64,
    /// Tokens that were computed, padding included, prompts whose keys and values were kept not.
    pub computed_tokens: u64,
    /// Computed tokens that were padding.
    pub padding_tokens: u64,
    /// Tokens of prompts that were not computed, since their keys and values were kept.
    pub saved_tokens: u64,
    /// Forward passes behind a prompt that was kept.
    pub prefix_hits: u64,
    /// Forward passes that met a prompt which was not kept.
    pub prefix_misses: u64,
    /// Bytes of keys and values that are kept of prompts.
    pub prefix_bytes: usize,
    /// Sequences of each forward pass.
    pub batch_rows: Histogram,
    /// Seconds that a request waited, for a tokenizer and then for the device.
    pub queue_seconds: Histogram,
    /// Seconds that the texts of a request took to tokenise.
    pub tokenise_seconds: Histogram,
    /// Seconds of each forward pass.
    pub forward_seconds: Histogram,
    /// Seconds from acceptance to answer, of requests that got vectors.
    pub total_seconds: Histogram,
    /// Failures of the model: errors of the native library and panics.
    pub failures: u64,
    /// Times that the model was loaded again after a failure.
    pub reloads: u64,
    /// Memory of the native library after the latest batch.
    pub memory: Option<MemoryUse>,
    /// Whether requests are refused after repeated failures.
    pub breaker: BreakerState,
}

impl Default for Stats {
    fn default() -> Self {
        Self {
            queries: Waiting::default(),
            bulk: Waiting::default(),
            accepted_inputs: 0,
            requests: Outcomes::default(),
            tokens: 0,
            computed_tokens: 0,
            padding_tokens: 0,
            saved_tokens: 0,
            prefix_hits: 0,
            prefix_misses: 0,
            prefix_bytes: 0,
            batch_rows: Histogram::new(ROWS),
            queue_seconds: Histogram::new(SECONDS),
            tokenise_seconds: Histogram::new(SECONDS),
            forward_seconds: Histogram::new(SECONDS),
            total_seconds: Histogram::new(SECONDS),
            failures: 0,
            reloads: 0,
            memory: None,
            breaker: BreakerState::default(),
        }
    }
}

impl Stats {
    /// Counts a forward pass.
    pub(super) fn ran(&mut self, rows: usize, tokens: usize, work: Work, took: Duration) {
        self.tokens += tokens as u64;
        self.computed_tokens += work.computed_tokens;
        self.padding_tokens += work.padding_tokens;
        self.saved_tokens += work.saved_tokens;
        self.prefix_hits += work.prefix_hits;
        self.prefix_misses += work.prefix_misses;
        self.prefix_bytes = work.prefix_bytes;
        self.batch_rows.add(rows as f64);
        self.forward_seconds.add(took.as_secs_f64());
    }

    /// Counts the times of an answered request.
    pub(super) fn answered(&mut self, timings: &Timings) {
        self.queue_seconds.add(timings.queue.as_secs_f64());
        self.tokenise_seconds.add(timings.tokenise.as_secs_f64());
        self.total_seconds.add(timings.total.as_secs_f64());
    }

    /// Counts how a request ended.
    pub(super) fn count(&mut self, result: &Result<Response, ServiceError>) {
        let requests = &mut self.requests;
        let outcome = match result {
            Ok(_) => &mut requests.answered,
            Err(ServiceError::InvalidInput(_)) => &mut requests.invalid,
            Err(ServiceError::Overloaded { .. }) => &mut requests.overloaded,
            Err(ServiceError::DeadlineExceeded) => &mut requests.expired,
            Err(ServiceError::ShuttingDown | ServiceError::Unavailable(_)) => {
                &mut requests.unavailable
            }
            Err(ServiceError::Internal(_)) => &mut requests.failed,
        };
        *outcome += 1;
    }

    /// When `waiting` tokens are likely to be done, from the speed so far.
    pub(super) fn retry_after(&self, waiting: usize) -> Duration {
        let (tokens, seconds) = (self.tokens as f64, self.forward_seconds.sum);
        let guess = match tokens > 0.0 {
            true => waiting as f64 * seconds / tokens,
            false => 1.0,
        };
        Duration::from_secs_f64(guess.clamp(0.1, 30.0))
    }
}

/// What waits in one lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Waiting {
    /// Requests that wait for a tokenizer.
    pub untokenised: usize,
    /// Sequences that wait for the device.
    pub sequences: usize,
    /// Their tokens.
    pub tokens: usize,
}

/// Requests by how they ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Outcomes {
    /// Got their vectors.
    pub answered: u64,
    /// Were at fault themselves.
    pub invalid: u64,
    /// Were refused because the queue was full.
    pub overloaded: u64,
    /// Passed their deadline in the queue.
    pub expired: u64,
    /// Were given up by their caller.
    pub cancelled: u64,
    /// Were refused because there was no model to run them, or the service was ending.
    pub unavailable: u64,
    /// Were in a batch that failed.
    pub failed: u64,
}

/// Whether requests are refused after repeated failures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BreakerState {
    /// Requests are served.
    #[default]
    Closed,
    /// Requests are refused.
    Open,
    /// The pause is over; the next batch decides.
    HalfOpen,
}

/// How often a value fell into each of a few ranges.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Histogram {
    /// Upper bounds of the ranges but the last, which has none; inclusive.
    pub bounds: &'static [f64],
    /// How often a value fell into each range; one more than there are bounds. Not cumulative.
    pub counts: Vec<u64>,
    /// Sum of all values.
    pub sum: f64,
}

impl Histogram {
    pub(super) fn new(bounds: &'static [f64]) -> Self {
        Self {
            bounds,
            counts: vec![0; bounds.len() + 1],
            sum: 0.0,
        }
    }

    pub(super) fn add(&mut self, value: f64) {
        self.counts[self.bounds.partition_point(|&bound| bound < value)] += 1;
        self.sum += value;
    }

    /// How many values there were.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_on_a_bound_falls_below_it() {
        let mut rows = Histogram::new(ROWS);
        for value in [1.0, 2.0, 3.0, 4.0, 1000.0] {
            rows.add(value);
        }
        assert_eq!(rows.counts, [1, 1, 2, 0, 0, 0, 0, 0, 0, 0, 1]);
        assert_eq!((rows.count(), rows.sum), (5, 1010.0));
    }

    #[test]
    fn the_time_to_retry_follows_the_speed_within_bounds() {
        let mut stats = Stats::default();
        assert_eq!(stats.retry_after(1000), Duration::from_secs(1));
        stats.ran(1, 100, Work::default(), Duration::from_secs(1));
        assert_eq!(stats.retry_after(500), Duration::from_secs(5));
        assert_eq!(stats.retry_after(1), Duration::from_millis(100));
        assert_eq!(stats.retry_after(1_000_000), Duration::from_secs(30));
    }
}
