//! The signals that end the server.

use std::io;
use std::os::raw::c_int;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// SIGTERM and SIGINT, caught from its making on.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// The next one to arrive.
    pub(super) async fn next(&mut self) -> c_int {
        tokio::select! {
            _ = self.terminate.recv() => SignalKind::terminate().as_raw_value(),
            _ = self.interrupt.recv() => SignalKind::interrupt().as_raw_value(),
        }
    }

    /// Ends the process at the next signal, as if nothing had caught it, but `before` that.
    pub(super) async fn end_at_next(mut self, before: impl FnOnce()) {
        let signal = self.next().await;
        before();
        if let Err(error) = signal_hook::low_level::emulate_default_handler(signal) {
            tracing::error!(%error, "the signal had no effect");
        }
    }
}
