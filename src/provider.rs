//! The trait by which a vector database imports this crate, and its provider.
//!
//! The types have the consumer's own shape, serde included, so that a newtype of a few lines
//! adapts [`Qwen3EmbeddingProvider`] to a trait of the same shape elsewhere: see
//! `examples/akidb_provider.rs`.

use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::options::EmbedOptions;
use crate::service::{Lane, Request, Service, ServiceError, ServiceInfo, Unavailable};
use crate::vector::Normalization;

/// What a fallible call of a provider returns.
pub type EmbeddingResult<T> = Result<T, EmbeddingError>;

/// Text to vectors, for any number of callers at once.
#[async_trait]
pub trait EmbeddingProvider: Send + Sync {
    /// Embeds all inputs, in order.
    ///
    /// # Errors
    /// Each kind of [`EmbeddingError`]; nothing is returned for the other inputs then.
    async fn embed_batch(
        &self,
        request: BatchEmbeddingRequest,
    ) -> EmbeddingResult<BatchEmbeddingResponse>;

    /// The model that is served.
    ///
    /// # Errors
    /// [`EmbeddingError::ServiceUnavailable`] until it was loaded.
    async fn model_info(&self) -> EmbeddingResult<ModelInfo>;

    /// Whether requests are served. Never waits behind one.
    ///
    /// # Errors
    /// [`EmbeddingError::ServiceUnavailable`] with the reason.
    async fn health_check(&self) -> EmbeddingResult<()>;
}

/// Texts to embed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchEmbeddingRequest {
    /// The model's id or alias.
    pub model: String,
    /// The texts.
    pub inputs: Vec<String>,
    /// Whether vectors are scaled to length 1; `false` gives the pooled rows as they are.
    #[serde(default)]
    pub normalize: bool,
}

/// Vectors, one for each text, in order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BatchEmbeddingResponse {
    /// The model as the request named it.
    pub model: String,
    /// The vectors.
    pub embeddings: Vec<Vec<f32>>,
    /// What it took.
    pub usage: Usage,
}

/// What a request took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Tokens that were run, prompts and EOS included, padding not.
    pub total_tokens: usize,
    /// Milliseconds from acceptance to answer.
    pub duration_ms: u64,
}

/// The model that is served.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelInfo {
    /// The name that callers use: the first alias, else the model's id.
    pub model: String,
    /// Elements of a vector.
    pub dimension: u32,
    /// The most tokens of one text.
    pub max_tokens: usize,
}

/// Why there are no vectors.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum EmbeddingError {
    /// The request names another model than the one served.
    #[error("model not found: {0}")]
    ModelNotFound(String),
    /// The request itself is at fault.
    #[error("invalid input: {0}")]
    InvalidInput(String),
    /// Try again later: overloaded, loading, shutting down, failed repeatedly.
    #[error("service unavailable: {0}")]
    ServiceUnavailable(String),
    /// The model failed.
    #[error("internal error: {0}")]
    Internal(String),
}

impl From<ServiceError> for EmbeddingError {
    fn from(error: ServiceError) -> Self {
        match error {
            ServiceError::InvalidInput(_) => Self::InvalidInput(error.to_string()),
            ServiceError::Internal(_) => Self::Internal(error.to_string()),
            _ => Self::ServiceUnavailable(error.to_string()),
        }
    }
}

/// [`EmbeddingProvider`] over a [`Service`].
///
/// Texts are documents in the lane of queries unless set otherwise. The consumer's request says
/// neither, so a database that searches holds a second provider of the same service, with
/// [`Prompt::Query`](crate::Prompt::Query) in its [`options`](Self::options).
#[derive(Debug, Clone)]
pub struct Qwen3EmbeddingProvider {
    service: Service,
    options: EmbedOptions,
    lane: Lane,
    max_inputs: usize,
}

impl Qwen3EmbeddingProvider {
    /// Serves the model of `service`, up to 1024 inputs a request.
    #[must_use]
    pub fn new(service: Service) -> Self {
        Self {
            service,
            options: EmbedOptions::default(),
            lane: Lane::default(),
            max_inputs: 1024,
        }
    }

    /// Prompt, dimensions and truncation of every request; whether vectors are normalised is in
    /// the request.
    #[must_use]
    pub fn options(mut self, options: EmbedOptions) -> Self {
        self.options = options;
        self
    }

    /// The lane of every request.
    #[must_use]
    pub fn lane(mut self, lane: Lane) -> Self {
        self.lane = lane;
        self
    }

    /// The most inputs of one request; more is [`EmbeddingError::InvalidInput`]. The service has
    /// a limit of its own, [`ServiceOptions::max_inputs`](crate::service::ServiceOptions::max_inputs).
    #[must_use]
    pub fn max_inputs(mut self, inputs: usize) -> Self {
        self.max_inputs = inputs;
        self
    }

    /// The service behind it.
    #[must_use]
    pub fn service(&self) -> &Service {
        &self.service
    }

    /// The model, also while it is loaded again after a failure.
    fn info(&self) -> EmbeddingResult<Arc<ServiceInfo>> {
        match self.service.info() {
            Some(info) => Ok(info),
            None => {
                self.service.ready()?;
                // It became ready between the two looks.
                self.service.info().ok_or_else(loading)
            }
        }
    }

    fn check(&self, inputs: &[String]) -> EmbeddingResult<()> {
        let invalid = |reason| Err(EmbeddingError::InvalidInput(reason));
        if inputs.is_empty() {
            return invalid("the request is empty: expected at least one input".to_owned());
        }
        if inputs.len() > self.max_inputs {
            let (limit, found) = (self.max_inputs, inputs.len());
            return invalid(format!("inputs: expected 1..={limit}, found {found}"));
        }
        match inputs.iter().position(|input| input.trim().is_empty()) {
            Some(index) => invalid(format!("input {index}: the text is blank")),
            None => Ok(()),
        }
    }
}

fn loading() -> EmbeddingError {
    ServiceError::Unavailable(Unavailable::Loading).into()
}

#[async_trait]
impl EmbeddingProvider for Qwen3EmbeddingProvider {
    async fn embed_batch(
        &self,
        request: BatchEmbeddingRequest,
    ) -> EmbeddingResult<BatchEmbeddingResponse> {
        let info = self.info()?;
        if !info.answers_to(&request.model) {
            return Err(EmbeddingError::ModelNotFound(request.model));
        }
        self.check(&request.inputs)?;
        let normalization = match request.normalize {
            true => Normalization::L2,
            false => Normalization::None,
        };
        let wanted = Request::texts(request.inputs)
            .options(self.options.clone().normalization(normalization))
            .lane(self.lane);
        let answer = self.service.embed(wanted).await?;
        Ok(BatchEmbeddingResponse {
            model: request.model,
            embeddings: answer.embeddings.iter().map(<[f32]>::to_vec).collect(),
            usage: Usage {
                total_tokens: answer.total_tokens(),
                duration_ms: answer
                    .timings
                    .total
                    .as_millis()
                    .try_into()
                    .unwrap_or(u64::MAX),
            },
        })
    }

    async fn model_info(&self) -> EmbeddingResult<ModelInfo> {
        let info = self.info()?;
        Ok(ModelInfo {
            model: info.aliases.first().unwrap_or(&info.model).clone(),
            dimension: self.options.dimensions.unwrap_or(info.dimensions) as u32,
            max_tokens: info.max_tokens,
        })
    }

    async fn health_check(&self) -> EmbeddingResult<()> {
        Ok(self.service.ready()?)
    }
}
