//! Why the hub gave no answer, and when to ask again.

use std::time::Duration;

use crate::error::Error;

const ATTEMPTS: u32 = 4;

/// Why an answer was not had.
#[derive(Debug)]
pub(super) enum Failure {
    /// Another attempt may help.
    Transient(String),
    /// The hub knows no such model, revision or file.
    Missing(String),
    /// Another attempt gives the same.
    Permanent(String),
    /// Not the hub's doing: a local file.
    Local(Error),
}

impl Failure {
    pub(super) fn into_error(self, model: &str, file: &str) -> Error {
        match self {
            Self::Transient(reason) | Self::Missing(reason) | Self::Permanent(reason) => {
                Error::Download {
                    model: model.to_owned(),
                    file: file.to_owned(),
                    reason,
                }
            }
            Self::Local(error) => error,
        }
    }
}

/// Repeats `attempt` while it fails in a way that may pass.
pub(super) fn retried<T>(mut attempt: impl FnMut() -> Result<T, Failure>) -> Result<T, Failure> {
    let mut patience = Patience::new();
    loop {
        match attempt() {
            Err(failure) => patience.spend(failure)?,
            answer => return answer,
        }
    }
}

/// How often and how soon to try again.
pub(super) struct Patience {
    left: u32,
    pause: Duration,
}

impl Patience {
    pub(super) fn new() -> Self {
        Self {
            left: ATTEMPTS - 1,
            pause: Duration::from_millis(250),
        }
    }

    /// Waits before another attempt, or says that there is to be none.
    pub(super) fn spend(&mut self, failure: Failure) -> Result<(), Failure> {
        let Failure::Transient(reason) = failure else {
            return Err(failure);
        };
        if self.left == 0 {
            return Err(Failure::Permanent(format!(
                "{reason} (after {ATTEMPTS} attempts)"
            )));
        }
        std::thread::sleep(self.pause);
        self.left -= 1;
        self.pause *= 2;
        Ok(())
    }
}
