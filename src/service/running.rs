//! One batch on the device: from sequences to rows to the callers they belong to.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::admission::invalid;
use super::error::{ServiceError, panicked};
use super::queue::{Id, Taken};
use super::shared::Shared;
use super::ticket::Ticket;
use crate::backend::{MemoryUse, Work};
use crate::embedder::{Group, Item, Runner};
use crate::error::{Error, Result};

/// What the device was given.
pub(super) type Sequences = [Taken<Arc<Ticket>>];

/// What the device gave back: a row, or what is wrong with the input, for each sequence.
pub(super) struct Ran {
    rows: Vec<Result<Vec<f32>>>,
    took: Duration,
    memory: Option<MemoryUse>,
    work: Work,
}

/// Runs a batch.
///
/// # Errors
/// The backend's, after which the runner must be dropped; a panic is one too.
pub(super) fn run(runner: &mut Runner, batch: &Sequences) -> Result<Ran> {
    let mut rows: Vec<Vec<f32>> = batch
        .iter()
        .map(|taken| vec![0.0; taken.ticket.dimensions()])
        .collect();
    let items = batch.iter().zip(&mut rows).map(|(taken, row)| Item {
        row: taken.tokens.row(),
        normalization: taken.ticket.normalization(),
        out: row,
    });
    let group = Group::new(items.collect(), runner.vocab_size)?;
    let before = runner.backend().work();
    let begun = Instant::now();
    let ran = catch_unwind(AssertUnwindSafe(|| runner.run(group, None)));
    let results = ran.unwrap_or_else(|panic| Err(panicked("forward", &*panic)))?;
    let took = begun.elapsed();
    let rows = rows.into_iter().zip(results);
    Ok(Ran {
        rows: rows.map(|(row, result)| result.map(|()| row)).collect(),
        took,
        memory: runner.backend().memory().ok(),
        work: runner.backend().work().since(before),
    })
}

impl Ran {
    /// Gives the rows to their requests, and answers those that have all of theirs.
    pub(super) fn answer(self, shared: &Shared, batch: &Sequences) {
        self.count(shared, batch);
        for (taken, row) in batch.iter().zip(self.rows) {
            match row {
                Ok(row) => taken.ticket.place(taken.position, &row),
                Err(error) => refuse(shared, taken, error),
            }
        }
        let requests = batch.iter().map(|taken| (taken.request, &taken.ticket));
        let requests: HashMap<Id, &Arc<Ticket>> = requests.collect();
        let complete: Vec<_> = requests
            .into_values()
            .filter(|ticket| ticket.ran(self.took))
            .collect();
        let now = Instant::now();
        let answered = complete.len();
        shared
            .handoff
            .with(|queue| queue.batch_ended(now, answered));
        for ticket in complete {
            if let Some(timings) = ticket.finish(now) {
                shared.stats().answered(&timings);
            }
        }
    }

    fn count(&self, shared: &Shared, batch: &Sequences) {
        let tokens = batch.iter().map(|taken| taken.tokens.ids.len()).sum();
        let mut stats = shared.stats();
        stats.ran(batch.len(), tokens, self.work, self.took);
        stats.memory = self.memory;
    }
}

/// Takes out a request of which one input cannot be run.
fn refuse(shared: &Shared, taken: &Taken<Arc<Ticket>>, error: Error) {
    shared.handoff.remove(taken.request);
    let error = error.at_input(taken.position);
    taken.ticket.refuse(match error {
        Error::NotFinite { .. } => ServiceError::Internal(Arc::new(error)),
        _ => invalid(error),
    });
}
