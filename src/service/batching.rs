//! Which sequences the device takes next, and whether it waits for more. No clock of its own.

use std::time::{Duration, Instant};

use super::accounts::Id;
use super::lanes::Lanes;
use super::request::Lane;
use crate::batch::{self, Row};

/// A sequence to be run: a [`Row`] of its own.
#[derive(Debug)]
pub(crate) struct Tokens {
    pub(crate) ids: Vec<u32>,
    pub(crate) prefix: usize,
}

impl Tokens {
    pub(crate) fn row(&self) -> Row<'_> {
        let Self { ids, prefix } = self;
        Row {
            ids,
            prefix: *prefix,
        }
    }
}

/// A sequence that waits for the device.
#[derive(Debug)]
pub(crate) struct Sequence {
    pub(crate) request: Id,
    /// Its place among the inputs of its request.
    pub(crate) position: usize,
    pub(crate) tokens: Tokens,
}

/// What the device does next.
#[derive(Debug)]
pub(crate) enum Turn {
    /// Runs these.
    Run(Vec<Sequence>),
    /// Waits until then for more, or for something to happen.
    Hold(Instant),
    /// Waits for something to happen.
    Idle,
}

/// The latest batch, while its callers may come back with more.
#[derive(Debug, Clone, Copy)]
struct Latest {
    ended: Instant,
    /// Requests that wait once all its callers are back.
    expected: usize,
}

/// The sequences that wait for the device.
#[derive(Debug)]
pub(crate) struct Batching {
    lines: Lanes<Sequence>,
    batch_tokens: usize,
    window: Duration,
    latest: Option<Latest>,
}

impl Batching {
    pub(crate) fn new(window: Duration) -> Self {
        Self {
            lines: Lanes::new(),
            batch_tokens: 1,
            window,
            latest: None,
        }
    }

    /// The most tokens of a batch, padding included, unless one sequence is longer.
    pub(crate) fn set_batch_tokens(&mut self, tokens: usize) {
        self.batch_tokens = tokens;
    }

    /// Lines up the sequences of a request.
    pub(crate) fn push(&mut self, lane: Lane, request: Id, sequences: Vec<Tokens>) {
        let sequences = sequences.into_iter().enumerate();
        let line = self.lines.lane_mut(lane);
        line.extend(sequences.map(|(position, tokens)| Sequence {
            request,
            position,
            tokens,
        }));
    }

    /// Takes the sequences of a request out of the line.
    pub(crate) fn remove(&mut self, lane: Lane, request: Id) {
        let line = self.lines.lane_mut(lane);
        line.retain(|sequence| sequence.request != request);
    }

    /// What the device does next, while sequences of `requests` different requests wait. It holds
    /// only if the latest batch had several callers, who are about to come back, and what waits
    /// would not fill a batch.
    pub(crate) fn next(&mut self, now: Instant, requests: usize) -> Turn {
        if self.lines.is_empty() {
            return Turn::Idle;
        }
        if let Some(until) = self.hold(now, requests) {
            return Turn::Hold(until);
        }
        self.latest = None;
        match self.lines.turn() {
            None => Turn::Idle,
            Some(lane) => Turn::Run(self.take(lane)),
        }
    }

    /// Notes that a batch ended in which `answered` requests got the last of their rows, while
    /// sequences of `requests` others wait.
    pub(crate) fn ended(&mut self, now: Instant, answered: usize, requests: usize) {
        self.latest = (answered > 1).then_some(Latest {
            ended: now,
            expected: answered + requests,
        });
    }

    /// Tokens of each sequence that waits in a lane.
    pub(crate) fn waiting(&self, lane: Lane) -> impl ExactSizeIterator<Item = usize> + '_ {
        let line = self.lines.lane(lane).iter();
        line.map(|sequence| sequence.tokens.ids.len())
    }

    fn hold(&self, now: Instant, requests: usize) -> Option<Instant> {
        let latest = self.latest?;
        let until = latest.ended + self.window;
        if now >= until || requests >= latest.expected {
            return None;
        }
        let tokens = self.waiting(Lane::Query).chain(self.waiting(Lane::Bulk));
        (tokens.sum::<usize>() < self.batch_tokens).then_some(until)
    }

    /// Of the batches that the line would make, the one that holds the oldest sequence: none is
    /// passed over.
    fn take(&mut self, lane: Lane) -> Vec<Sequence> {
        let line = self.lines.lane(lane).iter();
        let rows: Vec<Row<'_>> = line.map(|sequence| sequence.tokens.row()).collect();
        let groups = batch::plan(&rows, self.batch_tokens);
        let group = groups.into_iter().find(|group| group.contains(&0));
        let mut chosen = vec![false; rows.len()];
        for position in group.unwrap_or_default() {
            chosen[position] = true;
        }
        let line = self.lines.lane_mut(lane);
        let mut taken = Vec::new();
        for (sequence, chosen) in std::mem::take(line).into_iter().zip(chosen) {
            match chosen {
                true => taken.push(sequence),
                false => line.push_back(sequence),
            }
        }
        taken
    }
}
