//! The synchronous facade: texts or token ids to one contiguous matrix.

mod builder;

use crate::backend::{Backend, BackendInfo, HiddenRows, MemoryUse};
use crate::batch::{self, TokenBatch};
use crate::error::{Error, Result};
use crate::model::EmbeddingConfig;
use crate::options::EmbedOptions;
use crate::tokenizer::{TextRules, Tokenizer};
use crate::vector::{self, Embeddings};

pub use builder::EmbedderBuilder;

/// One model on one device, for the thread that built it.
///
/// It is neither `Send` nor `Sync`: the native library keeps its streams by thread. Give it a
/// thread of its own that lives as long as the process needs vectors; each thread that ever
/// builds one keeps its streams until the process ends.
///
/// ```no_run
/// use qwen3_embedding::{Embedder, EmbedOptions, Prompt};
///
/// # fn main() -> qwen3_embedding::Result<()> {
/// let mut embedder = Embedder::from_dir("Qwen3-Embedding-0.6B").build()?;
/// let query = embedder.embed(
///     &["What is the capital of China?"],
///     &EmbedOptions::default().prompt(Prompt::Query),
/// )?;
/// assert_eq!(query.data().len(), query.rows() * query.dimensions());
/// # Ok(())
/// # }
/// ```
pub struct Embedder {
    model: String,
    config: EmbeddingConfig,
    tokenizer: Tokenizer,
    backend: Box<dyn Backend>,
    max_tokens: usize,
    max_batch_tokens: usize,
}

impl Embedder {
    /// Embeds texts: prompt, tokens, exactly one EOS, last-token pooling, MRL cut, normalisation.
    /// For an ONNX file: the special tokens and the pooling of its own model.
    ///
    /// # Errors
    /// Errors that concern one text name its position in `texts`; nothing is returned for the
    /// others then. After [`Error::Backend`] drop the embedder and build it anew.
    pub fn embed(&mut self, texts: &[&str], options: &EmbedOptions) -> Result<Embeddings> {
        let max_tokens = self.max_tokens(options)?;
        let rules = TextRules {
            prompt: &options.prompt,
            special_tokens: options.special_tokens,
            truncation: options.truncation,
            max_tokens,
        };
        let mut sequences = Vec::with_capacity(texts.len());
        let mut truncated = Vec::with_capacity(texts.len());
        for (index, text) in texts.iter().enumerate() {
            let tokenized = self.tokenizer.encode(index, text, &rules)?;
            sequences.push(tokenized.ids);
            truncated.push(tokenized.truncated);
        }
        let sequences: Vec<&[u32]> = sequences.iter().map(Vec::as_slice).collect();
        self.run(&sequences, truncated, options)
    }

    /// Embeds token ids as they are: no prompt is put before them and no EOS after.
    ///
    /// The prompt, truncation and special-token options do not apply; a sequence that is too
    /// long is an error, since a cut would drop its last token, which is the one that is pooled.
    ///
    /// # Errors
    /// As [`embed`](Self::embed); [`Error::TokenId`] for an id outside the embedding table.
    pub fn embed_token_ids(
        &mut self,
        sequences: &[&[u32]],
        options: &EmbedOptions,
    ) -> Result<Embeddings> {
        let limit = self.max_tokens(options)?;
        for (index, sequence) in sequences.iter().enumerate() {
            batch::check_ids(index, sequence, self.config.vocab_size())?;
            if sequence.len() > limit {
                return Err(Error::TooManyTokens {
                    index,
                    tokens: sequence.len(),
                    limit,
                });
            }
        }
        self.run(sequences, vec![false; sequences.len()], options)
    }

    /// What really runs.
    #[must_use]
    pub fn backend(&self) -> &BackendInfo {
        self.backend.info()
    }

    /// The model's sizes and pooling; for a checkpoint also its whole configuration.
    #[must_use]
    pub fn config(&self) -> &EmbeddingConfig {
        &self.config
    }

    /// The model's id, or the name of its directory.
    #[must_use]
    pub fn model(&self) -> &str {
        &self.model
    }

    /// The token that ends every text.
    #[must_use]
    pub fn eos_token_id(&self) -> u32 {
        self.tokenizer.eos()
    }

    /// Memory of the native library.
    ///
    /// # Errors
    /// [`Error::Backend`] when the native library fails.
    pub fn memory(&self) -> Result<MemoryUse> {
        self.backend.memory()
    }

    fn max_tokens(&self, options: &EmbedOptions) -> Result<usize> {
        let limit = self.max_tokens;
        match options.max_tokens {
            None => Ok(limit),
            Some(n) if (1..=limit).contains(&n) => Ok(n),
            Some(n) => Err(Error::Option {
                option: "max_tokens",
                expected: format!("1..={limit}"),
                found: n.to_string(),
            }),
        }
    }

    /// Runs checked sequences in micro-batches and puts the vectors back in order.
    fn run(
        &mut self,
        sequences: &[&[u32]],
        truncated: Vec<bool>,
        options: &EmbedOptions,
    ) -> Result<Embeddings> {
        if sequences.is_empty() {
            return Err(Error::EmptyRequest);
        }
        let dimensions = vector::dimensions(options.dimensions, self.config.hidden_size())?;
        let tokens: Vec<usize> = sequences.iter().map(|sequence| sequence.len()).collect();
        let mut data = vec![0.0; sequences.len() * dimensions];
        for group in batch::plan(&tokens, self.max_batch_tokens) {
            let members: Vec<&[u32]> = group.iter().map(|&index| sequences[index]).collect();
            let rows = self
                .forward(&members)
                .map_err(|e| named(e, &group, &tokens))?;
            for (&index, row) in group.iter().zip(rows.rows()) {
                let out = &mut data[index * dimensions..(index + 1) * dimensions];
                if vector::defect(row, dimensions).is_none() {
                    vector::finish(row, options.normalization, out);
                    continue;
                }
                let row = self.retry(index, sequences[index], dimensions)?;
                vector::finish(&row.data, options.normalization, out);
            }
        }
        Ok(Embeddings {
            data,
            dimensions,
            normalization: options.normalization,
            tokens,
            truncated,
        })
    }

    fn forward(&mut self, sequences: &[&[u32]]) -> Result<HiddenRows> {
        let batch = TokenBatch::new(sequences, self.config.vocab_size())?;
        self.backend.forward(&batch)
    }

    /// Runs one sequence alone in f32, after its row came out unusable.
    fn retry(&mut self, index: usize, sequence: &[u32], dimensions: usize) -> Result<HiddenRows> {
        tracing::warn!(index, "not a finite vector; running the input alone in f32");
        let batch = TokenBatch::new(&[sequence], self.config.vocab_size())?;
        let rows = self.backend.forward_f32(&batch);
        let rows = rows.map_err(|e| named(e, &[index], &[]))?;
        match vector::defect(&rows.data, dimensions) {
            None => Ok(rows),
            Some(found) => Err(Error::NotFinite { index, found }),
        }
    }
}

/// A backend splits a batch until one sequence is left, and refuses that one: this names the input.
fn named(error: Error, group: &[usize], tokens: &[usize]) -> Error {
    match error {
        Error::BatchTooLarge {
            backend,
            tokens: width,
            reason,
            ..
        } => {
            let longest = group
                .iter()
                .find(|&&index| tokens.get(index) == Some(&width));
            Error::InputTooLarge {
                index: longest.or(group.first()).copied().unwrap_or_default(),
                backend,
                tokens: width,
                reason,
            }
        }
        other => other,
    }
}
