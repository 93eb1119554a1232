//! How a run ends when it does not end well.

use std::io;

/// Why a command stopped; decides the exit code.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The arguments contradict each other: exit code 2.
    Usage(String),
    /// Anything else: one line on stderr, exit code 1.
    Runtime(String),
    /// Nobody reads stdout any more: a quiet success.
    ClosedPipe,
}

impl Failure {
    /// A failure to read or write `what`.
    pub(crate) fn io(what: impl std::fmt::Display, error: &io::Error) -> Self {
        Self::Runtime(format!("{what}: {error}"))
    }
}

impl From<qwen3_embedding::Error> for Failure {
    fn from(error: qwen3_embedding::Error) -> Self {
        Self::Runtime(error.to_string())
    }
}
