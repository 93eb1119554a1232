//! A database's own trait over this crate's provider: the adapter is a newtype that moves fields.
//!
//! `cargo run --example akidb_provider` embeds with the built-in model; name a model's directory
//! to use that.
#![allow(clippy::print_stdout, reason = "a program for people")]
#![allow(missing_docs, unreachable_pub, reason = "a database's own module")]

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use qwen3_embedding::Embedder;
use qwen3_embedding::provider::{self, EmbeddingProvider as _, Qwen3EmbeddingProvider};
use qwen3_embedding::service::{Service, ServiceOptions};

/// What the database defines for itself; it knows nothing of this crate.
mod akidb {
    pub struct BatchEmbeddingRequest {
        pub model: String,
        pub inputs: Vec<String>,
        pub normalize: bool,
    }

    pub struct Usage {
        pub total_tokens: usize,
        pub duration_ms: u64,
    }

    pub struct BatchEmbeddingResponse {
        pub model: String,
        pub embeddings: Vec<Vec<f32>>,
        pub usage: Usage,
    }

    pub struct ModelInfo {
        pub model: String,
        pub dimension: u32,
        pub max_tokens: usize,
    }

    #[derive(Debug, thiserror::Error)]
    pub enum EmbeddingError {
        #[error("model not found: {0}")]
        ModelNotFound(String),
        #[error("invalid input: {0}")]
        InvalidInput(String),
        #[error("service unavailable: {0}")]
        ServiceUnavailable(String),
        #[error("internal error: {0}")]
        Internal(String),
    }

    pub type EmbeddingResult<T> = Result<T, EmbeddingError>;

    #[async_trait::async_trait]
    pub trait EmbeddingProvider: Send + Sync {
        async fn embed_batch(
            &self,
            request: BatchEmbeddingRequest,
        ) -> EmbeddingResult<BatchEmbeddingResponse>;
        async fn model_info(&self) -> EmbeddingResult<ModelInfo>;
        async fn health_check(&self) -> EmbeddingResult<()>;
    }
}

/// The adapter: everything that the database has to write.
struct Qwen3(Qwen3EmbeddingProvider);

#[async_trait]
impl akidb::EmbeddingProvider for Qwen3 {
    async fn embed_batch(
        &self,
        r: akidb::BatchEmbeddingRequest,
    ) -> akidb::EmbeddingResult<akidb::BatchEmbeddingResponse> {
        let request = provider::BatchEmbeddingRequest {
            model: r.model,
            inputs: r.inputs,
            normalize: r.normalize,
        };
        let answer = self.0.embed_batch(request).await.map_err(error)?;
        let usage = akidb::Usage {
            total_tokens: answer.usage.total_tokens,
            duration_ms: answer.usage.duration_ms,
        };
        Ok(akidb::BatchEmbeddingResponse {
            model: answer.model,
            embeddings: answer.embeddings,
            usage,
        })
    }

    async fn model_info(&self) -> akidb::EmbeddingResult<akidb::ModelInfo> {
        let provider::ModelInfo {
            model,
            dimension,
            max_tokens,
        } = self.0.model_info().await.map_err(error)?;
        Ok(akidb::ModelInfo {
            model,
            dimension,
            max_tokens,
        })
    }

    async fn health_check(&self) -> akidb::EmbeddingResult<()> {
        self.0.health_check().await.map_err(error)
    }
}

fn error(error: provider::EmbeddingError) -> akidb::EmbeddingError {
    match error {
        provider::EmbeddingError::ModelNotFound(why) => akidb::EmbeddingError::ModelNotFound(why),
        provider::EmbeddingError::InvalidInput(why) => akidb::EmbeddingError::InvalidInput(why),
        provider::EmbeddingError::ServiceUnavailable(why) => {
            akidb::EmbeddingError::ServiceUnavailable(why)
        }
        provider::EmbeddingError::Internal(why) => akidb::EmbeddingError::Internal(why),
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let built_in = concat!(env!("CARGO_MANIFEST_DIR"), "/models/tiny");
    let dir = PathBuf::from(std::env::args().nth(1).unwrap_or(built_in.to_owned()));
    let make = move || Embedder::from_dir(&dir).build();
    let service = Service::start(make, ServiceOptions::default().alias("qwen3"))?;
    service.loaded().await?;

    let held: Arc<dyn akidb::EmbeddingProvider + Send + Sync> =
        Arc::new(Qwen3(Qwen3EmbeddingProvider::new(service.clone())));
    held.health_check().await?;
    let info = held.model_info().await?;
    println!(
        "{}: {} dimensions, texts of up to {} tokens",
        info.model, info.dimension, info.max_tokens
    );
    let request = akidb::BatchEmbeddingRequest {
        model: "qwen3".to_owned(),
        inputs: vec![
            "Gravity pulls.".to_owned(),
            "Beijing is a capital.".to_owned(),
        ],
        normalize: true,
    };
    let answer = held.embed_batch(request).await?;
    for row in &answer.embeddings {
        println!(
            "{}: {} elements, first {:?}",
            answer.model,
            row.len(),
            &row[..4]
        );
    }
    let akidb::Usage {
        total_tokens,
        duration_ms,
    } = answer.usage;
    println!("{total_tokens} tokens in {duration_ms} ms");
    println!(
        "drained: {:?}",
        service.shutdown(Duration::from_secs(30)).await
    );
    Ok(())
}
