//! The one thread that builds, runs and drops the model.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use super::breaker::Breaker;
use super::error::{ServiceError, Unavailable, panicked};
use super::handoff::Batch;
use super::health::{Drained, ServiceInfo};
use super::running::{self, Sequences};
use super::shared::{Ending, Loaded, Model, Shared};
use crate::embedder::{Embedder, Runner};
use crate::error::{Error, Result};

/// Serves until the service ends. `make` gives the model, again after each failure.
pub(super) fn run(shared: &Shared, make: impl FnMut() -> Result<Embedder>) {
    let mut worker = Worker {
        shared,
        make,
        breaker: Breaker::new(
            shared.options.breaker_failures,
            shared.options.breaker_pause,
        ),
    };
    let ended = catch_unwind(AssertUnwindSafe(|| worker.serve()));
    let error = match ended {
        Ok(()) => ServiceError::ShuttingDown,
        Err(panic) => ServiceError::Internal(Arc::new(panicked("serve", &*panic))),
    };
    for ticket in shared.handoff.close() {
        ticket.refuse(error.clone());
    }
    shared.set_ending(Ending::Ended(Drained::All));
}

struct Worker<'a, M> {
    shared: &'a Shared,
    make: M,
    breaker: Breaker,
}

impl<M: FnMut() -> Result<Embedder>> Worker<'_, M> {
    fn serve(&mut self) {
        let mut runner = match self.load() {
            Ok(runner) => runner,
            Err(error) => return self.give_up(error),
        };
        self.shared.set_model(Model::Ready);
        loop {
            match self.shared.handoff.next_batch() {
                Batch::End => return drop_safely(runner),
                Batch::Expired(tickets) => {
                    for ticket in tickets {
                        ticket.refuse(ServiceError::DeadlineExceeded);
                    }
                }
                Batch::Run(batch) => match running::run(&mut runner, &batch) {
                    Ok(ran) => {
                        self.breaker.succeeded();
                        self.shared.stats().breaker = self.breaker.state();
                        ran.answer(self.shared, &batch);
                    }
                    Err(error) => {
                        let pause = self.failed(&batch, error);
                        drop_safely(runner);
                        match self.reload(pause) {
                            Some(fresh) => runner = fresh,
                            None => return,
                        }
                    }
                },
            }
        }
    }

    /// Builds the model and shares what other threads may use of it.
    fn load(&mut self) -> Result<Runner> {
        let made = catch_unwind(AssertUnwindSafe(&mut self.make));
        let embedder = made.unwrap_or_else(|panic| Err(panicked("load", &*panic)))?;
        let backend = embedder.backend().clone();
        let (encoder, runner) = embedder.into_halves();
        let changed = |loaded: &Loaded| loaded.info.space != *encoder.space();
        if self.shared.loaded().is_some_and(changed) {
            return Err(Error::ModelChanged {
                model: encoder.model().to_owned(),
            });
        }
        let tokens = runner.max_batch_tokens();
        self.shared
            .handoff
            .with(|queue| queue.set_batch_tokens(tokens));
        self.shared.stats().memory = runner.backend().memory().ok();
        self.shared.set_loaded(Loaded {
            info: Arc::new(ServiceInfo {
                model: encoder.model().to_owned(),
                aliases: self.shared.options.aliases.clone(),
                dimensions: encoder.space().dimensions,
                max_tokens: encoder.max_tokens(),
                eos_token_id: encoder.eos_token_id(),
                backend,
                space: encoder.space().clone(),
            }),
            encoder,
        });
        Ok(runner)
    }

    /// Loads the model again, after the pause if there is one, until that works or the service
    /// ends.
    fn reload(&mut self, mut pause: Option<Instant>) -> Option<Runner> {
        loop {
            if let Some(until) = pause {
                if !self.shared.handoff.pause(until) {
                    return None;
                }
                self.breaker.paused();
                self.set_state(Model::Reloading);
            }
            match self.load() {
                Ok(runner) => {
                    self.shared.stats().reloads += 1;
                    self.set_state(Model::Ready);
                    return Some(runner);
                }
                Err(error @ Error::ModelChanged { .. }) => {
                    self.give_up(error);
                    return None;
                }
                Err(error) => {
                    tracing::error!("the model could not be loaded again: {error}");
                    pause = self.note_failure();
                }
            }
        }
    }

    /// Notes that the model failed, for all to see before any caller is told. The end of the pause
    /// if there is one.
    fn note_failure(&mut self) -> Option<Instant> {
        self.shared.stats().failures += 1;
        let pause = self.breaker.failed(Instant::now());
        self.set_state(match pause {
            Some(until) => Model::BreakerOpen { until },
            None => Model::Reloading,
        });
        if let Some(until) = pause {
            // What waits would wait through the pause for a model that may fail again.
            let retry_after = until.saturating_duration_since(Instant::now());
            let error = Unavailable::BreakerOpen { retry_after };
            self.refuse_all(&ServiceError::Unavailable(error));
        }
        pause
    }

    fn set_state(&self, model: Model) {
        self.shared.stats().breaker = self.breaker.state();
        self.shared.set_model(model);
    }

    /// There is no model and there will be none.
    fn give_up(&self, error: Error) {
        tracing::error!("the model could not be loaded: {error}");
        let error = Arc::new(error);
        self.shared.set_model(Model::Failed(Arc::clone(&error)));
        self.refuse_all(&ServiceError::Unavailable(Unavailable::LoadFailed(error)));
    }

    fn refuse_all(&self, error: &ServiceError) {
        for ticket in self.shared.handoff.with(|queue| queue.clear()) {
            ticket.refuse(error.clone());
        }
    }

    /// Answers every request of a batch that failed. The end of the pause if there is one now.
    fn failed(&mut self, batch: &Sequences, error: Error) -> Option<Instant> {
        tracing::error!(rows = batch.len(), "a batch failed: {error}");
        let error = ServiceError::Internal(Arc::new(error));
        for taken in batch {
            self.shared.handoff.remove(taken.request);
        }
        let pause = self.note_failure();
        for taken in batch {
            taken.ticket.refuse(error.clone());
        }
        pause
    }
}

/// A failed native library may fail again when it is dropped.
fn drop_safely(runner: Runner) {
    if catch_unwind(AssertUnwindSafe(|| drop(runner))).is_err() {
        tracing::error!("dropping the model failed");
    }
}
