//! What is known of each accepted request, and what all of them hold.

use std::collections::{BTreeSet, HashMap};
use std::time::Instant;

use super::request::Lane;

/// Names a request for as long as the service lives.
pub(crate) type Id = u64;

/// One accepted request.
pub(crate) struct Account<K> {
    pub(crate) lane: Lane,
    pub(crate) deadline: Option<Instant>,
    pub(crate) inputs: usize,
    pub(crate) bytes: usize,
    pub(crate) stage: Stage,
    pub(crate) ticket: K,
}

/// How far a request has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// It waits for a tokenizer.
    Untokenised,
    /// A tokenizer has it.
    Tokenising,
    /// So many of its sequences wait for the device; at least one.
    Waiting(usize),
    /// The device took the last of them.
    Taken,
}

/// All accepted requests.
pub(crate) struct Accounts<K> {
    open: HashMap<Id, Account<K>>,
    /// Of requests that the device has not wholly taken.
    deadlines: BTreeSet<(Instant, Id)>,
    next: Id,
    inputs: usize,
    bytes: usize,
    /// Requests whose sequences wait for the device.
    waiting: usize,
    /// Requests that the device has wholly taken.
    taken: usize,
}

impl<K> Accounts<K> {
    pub(crate) fn new() -> Self {
        Self {
            open: HashMap::new(),
            deadlines: BTreeSet::new(),
            next: 0,
            inputs: 0,
            bytes: 0,
            waiting: 0,
            taken: 0,
        }
    }

    /// Opens an account for a request that waits for a tokenizer.
    pub(crate) fn open(&mut self, account: Account<K>) -> Id {
        let id = self.next;
        self.next += 1;
        self.inputs += account.inputs;
        self.bytes += account.bytes;
        self.deadlines.extend(account.deadline.map(|at| (at, id)));
        self.open.insert(id, account);
        id
    }

    pub(crate) fn get(&self, id: Id) -> Option<&Account<K>> {
        self.open.get(&id)
    }

    /// Moves a request on.
    pub(crate) fn set_stage(&mut self, id: Id, stage: Stage) {
        let Some(account) = self.open.get_mut(&id) else {
            return;
        };
        for (stage, change) in [(account.stage, -1), (stage, 1)] {
            match stage {
                Stage::Waiting(_) => self.waiting = self.waiting.saturating_add_signed(change),
                Stage::Taken => self.taken = self.taken.saturating_add_signed(change),
                Stage::Untokenised | Stage::Tokenising => {}
            }
        }
        account.stage = stage;
        if let (Stage::Taken, Some(deadline)) = (stage, account.deadline) {
            self.deadlines.remove(&(deadline, id));
        }
    }

    pub(crate) fn close(&mut self, id: Id) -> Option<Account<K>> {
        let account = self.open.remove(&id)?;
        self.inputs -= account.inputs;
        self.bytes -= account.bytes;
        match account.stage {
            Stage::Waiting(_) => self.waiting -= 1,
            Stage::Taken => self.taken -= 1,
            Stage::Untokenised | Stage::Tokenising => {}
        }
        if let Some(deadline) = account.deadline {
            self.deadlines.remove(&(deadline, id));
        }
        Some(account)
    }

    pub(crate) fn ids(&self) -> Vec<Id> {
        self.open.keys().copied().collect()
    }

    /// Requests whose deadline is not after `now`.
    pub(crate) fn expired(&self, now: Instant) -> Vec<Id> {
        let passed = self.deadlines.iter().take_while(|&&(at, _)| at <= now);
        passed.map(|&(_, id)| id).collect()
    }

    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|&(at, _)| at)
    }

    /// Inputs and bytes of all requests.
    pub(crate) fn held(&self) -> (usize, usize) {
        (self.inputs, self.bytes)
    }

    /// Requests whose sequences wait for the device.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting
    }

    /// Requests that the device has not wholly taken.
    pub(crate) fn untaken(&self) -> usize {
        self.open.len() - self.taken
    }
}
