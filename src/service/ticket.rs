//! What a request is while it waits: its texts, its rows as they come, and the way to its caller.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::error::ServiceError;
use super::request::{Response, Timings};
use crate::fingerprint::Fingerprint;
use crate::options::EmbedOptions;
use crate::vector::{Embeddings, Normalization};

/// What a caller gets.
pub(super) type Answer = Result<Response, ServiceError>;

/// One accepted request.
pub(super) struct Ticket {
    accepted: Instant,
    dimensions: usize,
    normalization: Normalization,
    fingerprint: Fingerprint,
    progress: Mutex<Progress>,
}

struct Progress {
    /// None once answered.
    caller: Option<oneshot::Sender<Answer>>,
    /// Until they are tokenised.
    texts: Option<(Vec<String>, EmbedOptions)>,
    tokens: Vec<usize>,
    truncated: Vec<bool>,
    /// Row-major; empty until the first row comes.
    rows: Vec<f32>,
    missing: usize,
    tokenise: Duration,
    forward: Duration,
}

/// The part of a request that does not change.
pub(super) struct Shape {
    pub(super) accepted: Instant,
    pub(super) dimensions: usize,
    pub(super) normalization: Normalization,
    pub(super) fingerprint: Fingerprint,
}

impl Ticket {
    pub(super) fn new(shape: Shape) -> (Self, oneshot::Receiver<Answer>) {
        let (caller, answer) = oneshot::channel();
        let ticket = Self {
            accepted: shape.accepted,
            dimensions: shape.dimensions,
            normalization: shape.normalization,
            fingerprint: shape.fingerprint,
            progress: Mutex::new(Progress {
                caller: Some(caller),
                texts: None,
                tokens: Vec::new(),
                truncated: Vec::new(),
                rows: Vec::new(),
                missing: 0,
                tokenise: Duration::ZERO,
                forward: Duration::ZERO,
            }),
        };
        (ticket, answer)
    }

    /// Leaves texts for a tokenizer.
    pub(super) fn put_texts(&self, texts: Vec<String>, options: EmbedOptions) {
        self.progress().texts = Some((texts, options));
    }

    pub(super) fn take_texts(&self) -> Option<(Vec<String>, EmbedOptions)> {
        self.progress().texts.take()
    }

    /// Notes what is to be run.
    pub(super) fn tokenised(&self, tokens: Vec<usize>, truncated: Vec<bool>, took: Duration) {
        let mut progress = self.progress();
        progress.missing = tokens.len();
        progress.tokens = tokens;
        progress.truncated = truncated;
        progress.tokenise = took;
    }

    pub(super) fn dimensions(&self) -> usize {
        self.dimensions
    }

    pub(super) fn normalization(&self) -> Normalization {
        self.normalization
    }

    /// Puts a row in its place.
    pub(super) fn place(&self, position: usize, row: &[f32]) {
        let mut progress = self.progress();
        if progress.caller.is_none() {
            return;
        }
        let elements = progress.tokens.len() * self.dimensions;
        progress.rows.resize(elements, 0.0);
        let mut places = progress.rows.chunks_exact_mut(self.dimensions);
        if let Some(place) = places.nth(position) {
            place.copy_from_slice(row);
            progress.missing -= 1;
        }
    }

    /// Notes a forward pass that it was in. Whether it has all its rows now.
    pub(super) fn ran(&self, took: Duration) -> bool {
        let mut progress = self.progress();
        progress.forward += took;
        progress.caller.is_some() && progress.missing == 0
    }

    /// Sends the rows. The times, if this was the answer.
    pub(super) fn finish(&self, now: Instant) -> Option<Timings> {
        let mut progress = self.progress();
        let caller = progress.caller.take()?;
        let total = now.saturating_duration_since(self.accepted);
        let worked = progress.tokenise + progress.forward;
        let timings = Timings {
            tokenise: progress.tokenise,
            queue: total.saturating_sub(worked),
            forward: progress.forward,
            total,
        };
        let embeddings = Embeddings {
            data: std::mem::take(&mut progress.rows),
            dimensions: self.dimensions,
            normalization: self.normalization,
            tokens: std::mem::take(&mut progress.tokens),
            truncated: std::mem::take(&mut progress.truncated),
        };
        drop(progress);
        let response = Response {
            embeddings,
            fingerprint: self.fingerprint,
            timings,
        };
        // A caller that is gone wants no answer.
        caller.send(Ok(response)).ok().map(|()| timings)
    }

    /// Sends an error instead of the rows.
    pub(super) fn refuse(&self, error: ServiceError) {
        let caller = self.progress().caller.take();
        if let Some(caller) = caller {
            // A caller that is gone wants no answer.
            let _ = caller.send(Err(error));
        }
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        // Every change above is whole before anything could panic.
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
