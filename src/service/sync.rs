//! The lock, the condition variables and the clock of the handoff; a model checker brings its own.

use std::time::Instant;

pub(crate) use std::sync::{Condvar, Mutex, MutexGuard};

/// The time.
pub(crate) fn now() -> Instant {
    Instant::now()
}
