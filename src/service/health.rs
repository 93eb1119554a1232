//! What the service tells about itself without asking the device.

use std::sync::Arc;

use crate::backend::BackendInfo;
use crate::error::Error;
use crate::fingerprint::Space;

/// What the service is doing.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Health {
    /// The model is being loaded for the first time.
    Loading,
    /// Requests are served.
    Ready,
    /// The model failed and is being loaded again; requests are accepted and wait.
    Reloading,
    /// The model failed several times in a row; requests are refused for a while.
    BreakerOpen,
    /// No new requests; those accepted are being served.
    Draining,
    /// The service has ended.
    Stopped,
    /// The model could not be loaded.
    Failed(Arc<Error>),
}

/// The model that a service runs, and what runs it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServiceInfo {
    /// The model's id, or the name of its directory.
    pub model: String,
    /// Other names by which callers may ask for it.
    pub aliases: Vec<String>,
    /// Elements of a vector that is not cut.
    pub dimensions: usize,
    /// The most tokens of one input, prompt and EOS included.
    pub max_tokens: usize,
    /// The token that ends every input.
    pub eos_token_id: u32,
    /// What really runs.
    pub backend: BackendInfo,
    /// The space of vectors that are not cut; [`Space::fingerprint`] is its short name.
    pub space: Space,
}

impl ServiceInfo {
    /// Whether `name` is the model's id or one of its aliases, to the letter.
    #[must_use]
    pub fn answers_to(&self, name: &str) -> bool {
        self.model == name || self.aliases.iter().any(|alias| alias == name)
    }
}

/// How a shutdown ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drained {
    /// Every accepted request was answered.
    All,
    /// The limit passed: this many were answered with
    /// [`ShuttingDown`](super::ServiceError::ShuttingDown).
    Cut(usize),
}
