//! Many concurrent callers, one device: a bounded queue, two lanes, one thread that owns the model.
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use qwen3_embedding::service::{Lane, Request, Service, ServiceOptions};
//! use qwen3_embedding::{EmbedOptions, Embedder, Prompt};
//!
//! # async fn run() -> Result<(), qwen3_embedding::service::ServiceError> {
//! let make = || Embedder::from_dir("models/tiny").build();
//! let service = Service::start(make, ServiceOptions::default())?;
//! service.loaded().await?;
//!
//! let query = Request::texts(["What is the capital of China?"])
//!     .options(EmbedOptions::default().prompt(Prompt::Query));
//! let answer = service.embed(query).await?;
//! assert_eq!(answer.embeddings.rows(), 1);
//!
//! let documents = Request::texts(["The capital of China is Beijing."]).lane(Lane::Bulk);
//! service.embed(documents).await?;
//! service.shutdown(Duration::from_secs(30)).await;
//! # Ok(())
//! # }
//! ```
//!
//! No method but [`Service::load`] blocks its thread: texts are tokenised by the service's own
//! threads and run by another, and no async runtime is needed beyond one that polls futures.

mod accounts;
mod admission;
mod batching;
mod block_on;
mod breaker;
mod error;
#[cfg(test)]
mod failure_tests;
#[cfg(test)]
mod fake;
mod handoff;
mod health;
mod lanes;
mod options;
mod place;
mod queue;
#[cfg(test)]
mod queue_tests;
mod request;
mod running;
#[cfg(test)]
mod service_tests;
mod shared;
mod stats;
mod sync;
mod ticket;
mod timer;
mod tokeniser;
mod worker;

use std::fmt;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crate::embedder::Embedder;
use crate::error::Result as CrateResult;
use block_on::block_on;
use place::Place;
use shared::{Ending, Model, Shared, Status};

pub use error::{ServiceError, Unavailable};
pub use health::{Drained, Health, ServiceInfo};
pub use options::ServiceOptions;
pub use request::{Input, Lane, Request, Response, Timings};
pub use stats::{BreakerState, Histogram, Outcomes, Stats, Waiting};

/// A model that any number of tasks and threads may use at once.
///
/// A clone is another handle of the same service. When the last one is gone the service ends;
/// [`shutdown`](Self::shutdown) ends it in order.
#[derive(Clone)]
pub struct Service {
    handle: Arc<Handle>,
}

/// Ends the service when it is dropped.
struct Handle {
    shared: Arc<Shared>,
}

impl Service {
    /// Starts the service and returns at once; the model is loaded meanwhile. Until it is there
    /// requests are [`Unavailable::Loading`]; [`loaded`](Self::loaded) waits for it.
    ///
    /// `make` runs on the one thread that ever touches the model, and again after a failure.
    ///
    /// # Errors
    /// [`ServiceError::Internal`] when the system gives no more threads.
    pub fn start(
        make: impl FnMut() -> CrateResult<Embedder> + Send + 'static,
        options: ServiceOptions,
    ) -> Result<Self, ServiceError> {
        let tokenisers = options.tokenizer_threads.get();
        let shared = Arc::new(Shared::new(options));
        // From here on its end ends the threads, also where one of them cannot be had.
        let service = Self {
            handle: Arc::new(Handle {
                shared: Arc::clone(&shared),
            }),
        };
        for number in 0..tokenisers {
            spawn(&shared, &format!("qwen3-tokens-{number}"), tokeniser::run)?;
        }
        spawn(&shared, "qwen3-timer", timer::run)?;
        spawn(&shared, "qwen3-model", move |shared| {
            worker::run(shared, make)
        })?;
        Ok(service)
    }

    /// As [`start`](Self::start), but blocks until the model is loaded. Not for async tasks.
    ///
    /// # Errors
    /// As [`start`](Self::start) and [`loaded`](Self::loaded).
    pub fn load(
        make: impl FnMut() -> CrateResult<Embedder> + Send + 'static,
        options: ServiceOptions,
    ) -> Result<Self, ServiceError> {
        let service = Self::start(make, options)?;
        block_on(service.loaded())?;
        Ok(service)
    }

    /// Waits until the model was loaded for the first time.
    ///
    /// # Errors
    /// [`Unavailable::LoadFailed`] with the model's error; [`ServiceError::ShuttingDown`].
    pub async fn loaded(&self) -> Result<(), ServiceError> {
        let over = |status: &Status| match (&status.model, status.ending) {
            (Model::Loading, None) => None,
            _ => Some(()),
        };
        self.shared().watch(over).await;
        match self.ready() {
            // It was loaded and has failed since.
            Err(ServiceError::Unavailable(Unavailable::BreakerOpen { .. })) => Ok(()),
            ready => ready,
        }
    }

    /// Embeds one request, in batches with others. Dropping the future gives the request up and
    /// frees its place.
    ///
    /// # Errors
    /// Each kind of [`ServiceError`]; nothing is returned for the other inputs then.
    pub async fn embed(&self, request: Request) -> Result<Response, ServiceError> {
        let shared = self.shared();
        let result = match shared.submit(request) {
            Ok((id, answer)) => Place::new(shared, id).wait(answer).await,
            Err(error) => Err(error),
        };
        shared.stats().count(&result);
        result
    }

    /// What the service is doing. Never waits behind the device.
    #[must_use]
    pub fn health(&self) -> Health {
        self.shared().health()
    }

    /// Whether a request would be taken now, as far as the model goes.
    ///
    /// # Errors
    /// What [`embed`](Self::embed) would answer: [`ServiceError::Unavailable`] or
    /// [`ServiceError::ShuttingDown`].
    pub fn ready(&self) -> Result<(), ServiceError> {
        self.shared().admitting().map(|_| ())
    }

    /// The model; nothing until it was loaded.
    #[must_use]
    pub fn info(&self) -> Option<Arc<ServiceInfo>> {
        let loaded = self.shared().loaded()?;
        Some(Arc::clone(&loaded.info))
    }

    /// Everything that is counted, at this moment.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.shared().snapshot()
    }

    /// Takes no more requests, answers those accepted, and drops the model. After `limit` those
    /// that still wait are answered with [`ServiceError::ShuttingDown`]; a batch on the device
    /// ends by itself later. Calling it twice waits for the same end, the sooner limit counts.
    pub async fn shutdown(&self, limit: Duration) -> Drained {
        let shared = self.shared();
        shared.set_ending(Ending::Draining);
        let now = Instant::now();
        let limit = now.checked_add(limit).unwrap_or(now + FOREVER);
        shared.handoff.drain(limit);
        let ended = |status: &Status| match status.ending {
            Some(Ending::Ended(drained)) => Some(drained),
            _ => None,
        };
        // The sender of the status lives as long as this handle.
        shared.watch(ended).await.unwrap_or(Drained::All)
    }

    fn shared(&self) -> &Shared {
        &self.handle.shared
    }
}

/// Longer than any process lives; an `Instant` still holds it.
const FOREVER: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Service")
            .field("health", &self.health())
            .finish_non_exhaustive()
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.set_ending(Ending::Draining);
        self.shared.handoff.drain(Instant::now());
    }
}

fn spawn(
    shared: &Arc<Shared>,
    name: &str,
    body: impl FnOnce(&Shared) + Send + 'static,
) -> Result<(), ServiceError> {
    let shared = Arc::clone(shared);
    let thread = thread::Builder::new().name(name.to_owned());
    let spawned = thread.spawn(move || body(&shared));
    spawned
        .map(drop)
        .map_err(|error| error::internal("spawn", error))
}
