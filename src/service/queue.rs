//! Who waits for what: pure bookkeeping, with no clock, no lock and no thread.
//!
//! A request is accepted or refused as a whole. Its texts wait for a tokenizer, then its
//! sequences wait for the device, where they may be taken in several batches. `K` is what its
//! caller is told by.

use std::time::{Duration, Instant};

use super::accounts::{Account, Accounts, Stage};
use super::batching::{Batching, Sequence, Turn};
use super::lanes::Lanes;
use super::request::Lane;

pub(crate) use super::accounts::Id;
pub(crate) use super::batching::Tokens;

/// How much may wait, and how batches are made.
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    pub(crate) inputs: usize,
    pub(crate) bytes: usize,
    pub(crate) window: Duration,
}

/// A request at the door.
pub(crate) struct Arrival<K> {
    pub(crate) lane: Lane,
    pub(crate) deadline: Option<Instant>,
    pub(crate) inputs: usize,
    pub(crate) bytes: usize,
    pub(crate) work: Work,
    pub(crate) ticket: K,
}

/// What is to be done first.
pub(crate) enum Work {
    /// Its texts are tokenised.
    Tokenise,
    /// Its sequences are run.
    Run(Vec<Tokens>),
}

/// Why a request was not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    Full,
    Closed,
}

/// A sequence that is taken to the device.
#[derive(Debug)]
pub(crate) struct Taken<K> {
    pub(crate) request: Id,
    /// Its place among the inputs of its request.
    pub(crate) position: usize,
    pub(crate) tokens: Tokens,
    pub(crate) ticket: K,
}

/// What the device does next.
#[derive(Debug)]
pub(crate) enum Next<K> {
    /// Runs these.
    Run(Vec<Taken<K>>),
    /// Waits until then for more, or for something to happen.
    Hold(Instant),
    /// Waits for something to happen.
    Idle,
}

/// Everything accepted and not yet answered.
pub(crate) struct Queue<K> {
    limits: Limits,
    door: Door,
    accounts: Accounts<K>,
    untokenised: Lanes<Id>,
    device: Batching,
}

/// Whether requests are accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Door {
    Open,
    Shut,
}

impl<K: Clone> Queue<K> {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            device: Batching::new(limits.window),
            limits,
            door: Door::Open,
            accounts: Accounts::new(),
            untokenised: Lanes::new(),
        }
    }

    /// The most tokens of a batch, padding included, unless one sequence is longer.
    pub(crate) fn set_batch_tokens(&mut self, tokens: usize) {
        self.device.set_batch_tokens(tokens);
    }

    /// Accepts a request if there is room for all of it.
    pub(crate) fn accept(&mut self, arrival: Arrival<K>) -> Result<Id, Refused> {
        let (inputs, bytes) = self.accounts.held();
        let full = |held: usize, more: usize, limit: usize| {
            held.checked_add(more).is_none_or(|all| all > limit)
        };
        if self.door == Door::Shut {
            return Err(Refused::Closed);
        }
        if full(inputs, arrival.inputs, self.limits.inputs)
            || full(bytes, arrival.bytes, self.limits.bytes)
        {
            return Err(Refused::Full);
        }
        let id = self.accounts.open(Account {
            lane: arrival.lane,
            deadline: arrival.deadline,
            inputs: arrival.inputs,
            bytes: arrival.bytes,
            stage: Stage::Untokenised,
            ticket: arrival.ticket,
        });
        match arrival.work {
            Work::Tokenise => self.untokenised.lane_mut(arrival.lane).push_back(id),
            Work::Run(sequences) => self.tokenised(id, sequences),
        }
        Ok(id)
    }

    /// The next request to be tokenised; its texts are the ticket's.
    pub(crate) fn next_texts(&mut self) -> Option<(Id, K)> {
        let lane = self.untokenised.turn()?;
        let id = self.untokenised.lane_mut(lane).pop_front()?;
        self.accounts.set_stage(id, Stage::Tokenising);
        let account = self.accounts.get(id)?;
        Some((id, account.ticket.clone()))
    }

    /// Lines up the sequences of a request, unless it is gone.
    pub(crate) fn tokenised(&mut self, id: Id, sequences: Vec<Tokens>) {
        let Some(account) = self.accounts.get(id) else {
            return;
        };
        let lane = account.lane;
        self.accounts.set_stage(id, Stage::Waiting(sequences.len()));
        self.device.push(lane, id, sequences);
    }

    /// What the device does next.
    pub(crate) fn next_batch(&mut self, now: Instant) -> Next<K> {
        match self.device.next(now, self.accounts.waiting()) {
            Turn::Idle => Next::Idle,
            Turn::Hold(until) => Next::Hold(until),
            Turn::Run(batch) => {
                let taken = batch.into_iter().filter_map(|s| self.take(s));
                Next::Run(taken.collect())
            }
        }
    }

    /// Notes that a batch ended in which `answered` requests got the last of their rows.
    pub(crate) fn batch_ended(&mut self, now: Instant, answered: usize) {
        self.device.ended(now, answered, self.accounts.waiting());
    }

    /// Takes out a request that was answered or given up, with all of it that still waits.
    pub(crate) fn remove(&mut self, id: Id) -> Option<K> {
        let account = self.accounts.close(id)?;
        match account.stage {
            Stage::Untokenised => self.untokenised.lane_mut(account.lane).retain(|&i| i != id),
            Stage::Waiting(_) => self.device.remove(account.lane, id),
            Stage::Tokenising | Stage::Taken => {}
        }
        Some(account.ticket)
    }

    /// Takes out the requests whose deadline passed before the device got to all of them.
    pub(crate) fn expire(&mut self, now: Instant) -> Vec<K> {
        let expired = self.accounts.expired(now);
        expired
            .into_iter()
            .filter_map(|id| self.remove(id))
            .collect()
    }

    /// The next deadline of a request that the device has not wholly taken.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.accounts.next_deadline()
    }

    /// Accepts no more.
    pub(crate) fn shut(&mut self) {
        self.door = Door::Shut;
    }

    /// Takes out every request, the running ones too.
    pub(crate) fn clear(&mut self) -> Vec<K> {
        let all = self.accounts.ids();
        all.into_iter().filter_map(|id| self.remove(id)).collect()
    }

    /// Whether nothing waits, neither for a tokenizer nor for the device.
    pub(crate) fn nothing_waits(&self) -> bool {
        self.accounts.untaken() == 0
    }

    /// Inputs accepted and not yet answered.
    pub(crate) fn held_inputs(&self) -> usize {
        self.accounts.held().0
    }

    /// Requests that wait for a tokenizer in a lane.
    pub(crate) fn untokenised(&self, lane: Lane) -> usize {
        self.untokenised.lane(lane).len()
    }

    /// Tokens of each sequence that waits for the device in a lane.
    pub(crate) fn sequences(&self, lane: Lane) -> impl ExactSizeIterator<Item = usize> + '_ {
        self.device.waiting(lane)
    }

    fn take(&mut self, sequence: Sequence) -> Option<Taken<K>> {
        let Sequence {
            request,
            position,
            tokens,
        } = sequence;
        let account = self.accounts.get(request)?;
        let ticket = account.ticket.clone();
        let stage = match account.stage {
            Stage::Waiting(waiting) if waiting > 1 => Stage::Waiting(waiting - 1),
            _ => Stage::Taken,
        };
        self.accounts.set_stage(request, stage);
        Some(Taken {
            request,
            position,
            tokens,
            ticket,
        })
    }
}
