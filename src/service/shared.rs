//! What all threads of a service share.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use tokio::sync::watch;

use super::error::{ServiceError, Unavailable};
use super::handoff::Handoff;
use super::health::{Drained, Health, ServiceInfo};
use super::options::ServiceOptions;
use super::queue::{Limits, Queue};
use super::request::Lane;
use super::stats::{Stats, Waiting};
use super::ticket::Ticket;
use crate::embedder::Encoder;
use crate::error::Error;

/// One service: its queue, its state and its counters.
pub(super) struct Shared {
    pub(super) options: ServiceOptions,
    pub(super) handoff: Handoff<Arc<Ticket>>,
    status: watch::Sender<Status>,
    model: OnceLock<Loaded>,
    stats: Mutex<Stats>,
}

/// What of the model other threads than its owner may use.
pub(super) struct Loaded {
    pub(super) encoder: Encoder,
    pub(super) info: Arc<ServiceInfo>,
}

#[derive(Debug, Clone)]
pub(super) struct Status {
    pub(super) model: Model,
    pub(super) ending: Option<Ending>,
}

/// The state of the model.
#[derive(Debug, Clone)]
pub(super) enum Model {
    Loading,
    Ready,
    Reloading,
    BreakerOpen { until: Instant },
    Failed(Arc<Error>),
}

/// How far a shutdown has come.
#[derive(Debug, Clone, Copy)]
pub(super) enum Ending {
    Draining,
    Ended(Drained),
}

impl Shared {
    pub(super) fn new(options: ServiceOptions) -> Self {
        let queue = Queue::new(Limits {
            inputs: options.queue_inputs,
            bytes: options.queue_bytes,
            window: options.window,
        });
        let status = Status {
            model: Model::Loading,
            ending: None,
        };
        Self {
            options,
            handoff: Handoff::new(queue),
            status: watch::Sender::new(status),
            model: OnceLock::new(),
            stats: Mutex::new(Stats::default()),
        }
    }

    /// The model, if requests are taken now.
    pub(super) fn admitting(&self) -> Result<&Loaded, ServiceError> {
        let status = self.status.borrow();
        let unavailable = match (&status.ending, &status.model) {
            (_, Model::Failed(error)) => Unavailable::LoadFailed(Arc::clone(error)),
            (Some(_), _) => return Err(ServiceError::ShuttingDown),
            (None, Model::BreakerOpen { until }) => Unavailable::BreakerOpen {
                retry_after: until.saturating_duration_since(Instant::now()),
            },
            (None, Model::Loading | Model::Ready | Model::Reloading) => match self.model.get() {
                Some(loaded) => return Ok(loaded),
                None => Unavailable::Loading,
            },
        };
        Err(ServiceError::Unavailable(unavailable))
    }

    pub(super) fn health(&self) -> Health {
        let status = self.status.borrow();
        match (&status.ending, &status.model) {
            (_, Model::Failed(error)) => Health::Failed(Arc::clone(error)),
            (Some(Ending::Ended(_)), _) => Health::Stopped,
            (Some(Ending::Draining), _) => Health::Draining,
            (None, Model::Loading) => Health::Loading,
            (None, Model::Ready) => Health::Ready,
            (None, Model::Reloading) => Health::Reloading,
            (None, Model::BreakerOpen { .. }) => Health::BreakerOpen,
        }
    }

    pub(super) fn loaded(&self) -> Option<&Loaded> {
        self.model.get()
    }

    /// Notes the model that was loaded; a second one has the same tokenizer and is left out.
    pub(super) fn set_loaded(&self, loaded: Loaded) {
        let _ = self.model.set(loaded);
    }

    pub(super) fn set_model(&self, model: Model) {
        self.status.send_modify(|status| status.model = model);
    }

    /// Notes how far the shutdown has come; the end stays as it was first noted.
    pub(super) fn set_ending(&self, ending: Ending) {
        self.status.send_modify(|status| match status.ending {
            Some(Ending::Ended(_)) => {}
            _ => status.ending = Some(ending),
        });
    }

    /// Waits until `done` finds what it looks for.
    pub(super) async fn watch<T>(&self, done: impl Fn(&Status) -> Option<T>) -> Option<T> {
        let mut status = self.status.subscribe();
        let status = status
            .wait_for(|status| done(status).is_some())
            .await
            .ok()?;
        done(&status)
    }

    /// The counters, to be read or changed; never held over work.
    pub(super) fn stats(&self) -> MutexGuard<'_, Stats> {
        // Counters are numbers: none is half-written.
        self.stats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The counters together with what waits.
    pub(super) fn snapshot(&self) -> Stats {
        let waiting = |lane| {
            let (untokenised, sequences, tokens) = self.handoff.waiting(lane);
            Waiting {
                untokenised,
                sequences,
                tokens,
            }
        };
        let (queries, bulk) = (waiting(Lane::Query), waiting(Lane::Bulk));
        let accepted_inputs = self.handoff.with(|queue| queue.held_inputs());
        Stats {
            queries,
            bulk,
            accepted_inputs,
            ..self.stats().clone()
        }
    }
}
