//! Why a request got no vectors.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use crate::error::Error;

/// Why a request got no vectors.
///
/// No message holds a path, an address or a text of a native library; the cause that
/// [`source`](std::error::Error::source) gives may.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ServiceError {
    /// As many requests wait as may wait. Answered at once.
    #[error("too many requests are waiting; try again in {} ms", retry_after.as_millis())]
    Overloaded {
        /// When the line is likely to be shorter, from the speed of late.
        retry_after: Duration,
    },

    /// The deadline passed before the device got to all of the request.
    #[error("the deadline passed while the request waited")]
    DeadlineExceeded,

    /// The service takes no more requests, or ended before this one's turn.
    #[error("the service is shutting down")]
    ShuttingDown,

    /// There is no model to run it on.
    #[error("unavailable: {0}")]
    Unavailable(#[source] Unavailable),

    /// The request itself is at fault; the message names the input or option.
    #[error("{0}")]
    InvalidInput(Arc<Error>),

    /// The model or the native library failed on the batch that held this request.
    #[error("the model failed on a batch that held this request")]
    Internal(#[source] Arc<Error>),
}

/// Why there is no model to run a request on.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Unavailable {
    /// It is being loaded for the first time.
    #[error("the model is being loaded")]
    Loading,

    /// It could not be loaded. This does not change any more.
    #[error("the model could not be loaded")]
    LoadFailed(#[source] Arc<Error>),

    /// It failed several times in a row and is left alone for a while.
    #[error("the model failed repeatedly; try again in {} ms", retry_after.as_millis())]
    BreakerOpen {
        /// When it is tried again.
        retry_after: Duration,
    },
}

/// A failure of the service itself.
pub(super) fn internal(op: &str, message: impl ToString) -> ServiceError {
    ServiceError::Internal(Arc::new(failed(op, message)))
}

/// A failure of the service itself, as the crate's error.
pub(super) fn failed(op: &str, message: impl ToString) -> Error {
    Error::Backend {
        backend: "service",
        op: op.to_owned(),
        message: message.to_string(),
    }
}

/// What a panic said.
pub(super) fn panicked(op: &str, panic: &(dyn Any + Send)) -> Error {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    failed(
        op,
        format!("panicked: {}", text.unwrap_or("no reason given")),
    )
}
