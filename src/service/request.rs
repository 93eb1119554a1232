//! What a caller asks and what it gets.

use std::time::{Duration, Instant};

use crate::fingerprint::Fingerprint;
use crate::options::EmbedOptions;
use crate::vector::Embeddings;

/// What is to be embedded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// Texts; the prompt of the options stands before each and one EOS after.
    Texts(Vec<String>),
    /// Token ids as they are; see [`Embedder::embed_token_ids`](crate::Embedder::embed_token_ids).
    TokenIds(Vec<Vec<u32>>),
}

impl Input {
    /// Texts or sequences: the vectors that the answer will hold.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Texts(texts) => texts.len(),
            Self::TokenIds(sequences) => sequences.len(),
        }
    }

    /// Whether there is nothing to embed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Which line a request waits in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Lane {
    /// Someone waits for the answer: served before bulk.
    #[default]
    Query,
    /// Indexing: yields to queries, but is never starved by them.
    Bulk,
}

/// One request of a caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// What is to be embedded.
    pub input: Input,
    /// How. Requests with different options still share forward passes.
    pub options: EmbedOptions,
    /// Which line it waits in.
    pub lane: Lane,
    /// When the answer is no longer wanted, if the device has not got to all of it by then. What
    /// has begun on the device is finished and answered.
    pub deadline: Option<Instant>,
}

impl Request {
    /// Texts with the default options, in the lane of queries, without a deadline.
    #[must_use]
    pub fn texts<T: Into<String>>(texts: impl IntoIterator<Item = T>) -> Self {
        Self::new(Input::Texts(texts.into_iter().map(Into::into).collect()))
    }

    /// Token ids with the default options, in the lane of queries, without a deadline.
    #[must_use]
    pub fn token_ids(sequences: Vec<Vec<u32>>) -> Self {
        Self::new(Input::TokenIds(sequences))
    }

    /// `input` with the default options, in the lane of queries, without a deadline.
    #[must_use]
    pub fn new(input: Input) -> Self {
        Self {
            input,
            options: EmbedOptions::default(),
            lane: Lane::default(),
            deadline: None,
        }
    }

    /// With these options.
    #[must_use]
    pub fn options(mut self, options: EmbedOptions) -> Self {
        self.options = options;
        self
    }

    /// In this lane.
    #[must_use]
    pub fn lane(mut self, lane: Lane) -> Self {
        self.lane = lane;
        self
    }

    /// With this deadline.
    #[must_use]
    pub fn deadline(mut self, deadline: Instant) -> Self {
        self.deadline = Some(deadline);
        self
    }
}

/// The answer to one request.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Response {
    /// One vector for each input, in order, with its tokens and whether it was cut.
    pub embeddings: Embeddings,
    /// The space that the vectors lie in.
    pub fingerprint: Fingerprint,
    /// Where the time went.
    pub timings: Timings,
}

impl Response {
    /// Tokens that were run, prompts and EOS included, padding not.
    #[must_use]
    pub fn total_tokens(&self) -> usize {
        self.embeddings.tokens().iter().sum()
    }
}

/// Where the time of one request went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Timings {
    /// Turning its texts into tokens.
    pub tokenise: Duration,
    /// Waiting, for a tokenizer and then for the device.
    pub queue: Duration,
    /// The forward passes that it took part in, shared with others or not.
    pub forward: Duration,
    /// From acceptance to answer.
    pub total: Duration,
}
