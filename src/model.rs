//! What a model is to the path from text to vector, whatever its files hold.

use std::fmt;

use crate::config::ModelConfig;

/// Sizes and pooling of a loaded model.
#[derive(Debug, Clone, PartialEq)]
pub struct EmbeddingConfig {
    pub(crate) vocab_size: usize,
    pub(crate) hidden_size: usize,
    pub(crate) context: usize,
    pub(crate) pooling: Pooling,
    pub(crate) qwen3: Option<ModelConfig>,
}

impl EmbeddingConfig {
    /// Every token id is below.
    #[must_use]
    pub fn vocab_size(&self) -> usize {
        self.vocab_size
    }

    /// Elements of a vector that is not cut.
    #[must_use]
    pub fn hidden_size(&self) -> usize {
        self.hidden_size
    }

    /// Longest sequence, in tokens.
    #[must_use]
    pub fn context(&self) -> usize {
        self.context
    }

    /// How the rows of a sequence become one.
    #[must_use]
    pub fn pooling(&self) -> Pooling {
        self.pooling
    }

    /// The configuration of a checkpoint that this crate runs itself; none for an ONNX file.
    #[must_use]
    pub fn qwen3(&self) -> Option<&ModelConfig> {
        self.qwen3.as_ref()
    }
}

impl From<ModelConfig> for EmbeddingConfig {
    fn from(config: ModelConfig) -> Self {
        Self {
            vocab_size: config.vocab_size(),
            hidden_size: config.hidden_size(),
            context: config.max_position_embeddings(),
            pooling: Pooling::LastToken,
            qwen3: Some(config),
        }
    }
}

/// How the rows of a sequence's tokens become one vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Pooling {
    /// The last token's row.
    LastToken,
    /// The first token's row.
    Cls,
    /// The mean of all tokens' rows, special tokens included and padding not.
    Mean,
    /// Done by the ONNX graph itself, whose output is `sentence_embedding`.
    Graph,
}

impl Pooling {
    /// As options and results spell it: `last-token`, `cls`, `mean`, `graph`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::LastToken => "last-token",
            Self::Cls => "cls",
            Self::Mean => "mean",
            Self::Graph => "graph",
        }
    }
}

impl fmt::Display for Pooling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
