//! The service's limits and their defaults.

use std::num::NonZeroUsize;
use std::time::Duration;

/// Limits of a service. Each method sets one; the defaults are in its text.
///
/// ```
/// use qwen3_embedding::service::ServiceOptions;
///
/// let options = ServiceOptions::default().alias("qwen3").queue_inputs(1024);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceOptions {
    pub(super) aliases: Vec<String>,
    pub(super) max_inputs: usize,
    pub(super) max_text_bytes: Option<usize>,
    pub(super) max_request_tokens: usize,
    pub(super) queue_inputs: usize,
    pub(super) queue_bytes: usize,
    pub(super) window: Duration,
    pub(super) tokenizer_threads: NonZeroUsize,
    pub(super) breaker_failures: u32,
    pub(super) breaker_pause: Duration,
}

impl Default for ServiceOptions {
    fn default() -> Self {
        Self {
            aliases: Vec::new(),
            max_inputs: 1024,
            max_text_bytes: None,
            max_request_tokens: 1 << 20,
            queue_inputs: 4096,
            queue_bytes: 256 << 20,
            window: Duration::from_millis(1),
            tokenizer_threads: default_threads(),
            breaker_failures: 3,
            breaker_pause: Duration::from_secs(5),
        }
    }
}

impl ServiceOptions {
    /// Adds a name by which callers may ask for the model, beside its id. None by default.
    #[must_use]
    pub fn alias(mut self, name: impl Into<String>) -> Self {
        self.aliases.push(name.into());
        self
    }

    /// The most inputs of one request: 1024. More is the caller's error.
    #[must_use]
    pub fn max_inputs(mut self, inputs: usize) -> Self {
        self.max_inputs = inputs;
        self
    }

    /// The longest text: 16 bytes for each token that the model takes, and at least 64 KiB; 512 KiB
    /// for a context of 32,768. A longer one is refused before it is tokenised, also where
    /// truncation would have cut it: tokenising takes time for all of a text, not for what is kept
    /// of it, and prose has four to five bytes a token.
    #[must_use]
    pub fn max_text_bytes(mut self, bytes: usize) -> Self {
        self.max_text_bytes = Some(bytes);
        self
    }

    /// The most tokens of all inputs of one request, prompts and EOS included: 1,048,576. More is
    /// the caller's error.
    #[must_use]
    pub fn max_request_tokens(mut self, tokens: usize) -> Self {
        self.max_request_tokens = tokens;
        self
    }

    /// The most inputs accepted and not yet answered: 4096. What comes on top is
    /// [`Overloaded`](super::ServiceError::Overloaded).
    #[must_use]
    pub fn queue_inputs(mut self, inputs: usize) -> Self {
        self.queue_inputs = inputs;
        self
    }

    /// The most bytes of text and token ids accepted and not yet answered: 256 MiB.
    #[must_use]
    pub fn queue_bytes(mut self, bytes: usize) -> Self {
        self.queue_bytes = bytes;
        self
    }

    /// How long the device may wait, after a batch of several requests, for their callers to come
    /// back with the next: 1 ms. A device that was idle never waits.
    #[must_use]
    pub fn window(mut self, window: Duration) -> Self {
        self.window = window;
        self
    }

    /// Threads that tokenise: half the processor's, from 1 to 4.
    #[must_use]
    pub fn tokenizer_threads(mut self, threads: NonZeroUsize) -> Self {
        self.tokenizer_threads = threads;
        self
    }

    /// Failures in a row after which requests are refused for a while: 3.
    #[must_use]
    pub fn breaker_failures(mut self, failures: u32) -> Self {
        self.breaker_failures = failures;
        self
    }

    /// For how long they are refused then: 5 s.
    #[must_use]
    pub fn breaker_pause(mut self, pause: Duration) -> Self {
        self.breaker_pause = pause;
        self
    }
}

impl ServiceOptions {
    /// The most inputs that a request can have and still be accepted some time.
    pub(super) fn input_limit(&self) -> usize {
        self.max_inputs.min(self.queue_inputs)
    }
}

/// The longest text of a model unless the options say otherwise.
pub(super) fn default_text_bytes(max_tokens: usize) -> usize {
    max_tokens.saturating_mul(16).max(64 << 10)
}

fn default_threads() -> NonZeroUsize {
    let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    NonZeroUsize::new((cores / 2).min(4)).unwrap_or(NonZeroUsize::MIN)
}
