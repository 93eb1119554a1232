//! The synchronous facade: texts or token ids to one contiguous matrix.

mod builder;
mod encoder;
mod open;
mod runner;
mod source;

use std::path::Path;

use crate::backend::{BackendInfo, MemoryUse, Peaks, Work};
use crate::batch::{self, Row, TokenBatch};
use crate::error::{Error, Result};
use crate::fingerprint::Space;
use crate::model::EmbeddingConfig;
use crate::options::EmbedOptions;
use crate::vector::Embeddings;

pub(crate) use encoder::Encoder;
#[cfg(feature = "service")]
pub(crate) use encoder::Sequences;
pub(crate) use runner::{Group, Item, Runner};

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
    encoder: Encoder,
    runner: Runner,
}

impl Embedder {
    /// Embeds texts: prompt, tokens, exactly one EOS, last-token pooling, MRL cut, normalisation.
    /// For an ONNX file: the special tokens and the pooling of its own model.
    ///
    /// # Errors
    /// Errors that concern one text name its position in `texts`; nothing is returned for the
    /// others then. After [`Error::Backend`] drop the embedder and build it anew.
    pub fn embed(&mut self, texts: &[&str], options: &EmbedOptions) -> Result<Embeddings> {
        let encoded = self.encoder.encode(texts, options)?;
        let rows = encoded.ids.iter().zip(&encoded.prefixes);
        let rows: Vec<Row<'_>> = rows.map(|(ids, &prefix)| Row { ids, prefix }).collect();
        self.run(&rows, encoded.truncated, options)
    }

    /// Embeds token ids as they are: no prompt is put before them and no EOS after.
    ///
    /// The prompt, truncation and special-token options do not apply; a sequence that is too
    /// long is an error, since a cut would drop its last token, which is the one that is pooled.
    /// Sequences that begin with the model's query prompt run only what comes after it, as texts do.
    ///
    /// # Errors
    /// As [`embed`](Self::embed); [`Error::TokenId`] for an id outside the embedding table.
    pub fn embed_token_ids(
        &mut self,
        sequences: &[&[u32]],
        options: &EmbedOptions,
    ) -> Result<Embeddings> {
        self.encoder.check(sequences, options)?;
        let rows = sequences.iter().map(|&ids| Row {
            ids,
            prefix: self.encoder.query_prefix(ids),
        });
        let rows: Vec<Row<'_>> = rows.collect();
        self.run(&rows, vec![false; rows.len()], options)
    }

    /// The token ids that [`embed`](Self::embed) would run for each text.
    ///
    /// # Errors
    /// As [`embed`](Self::embed), without those of the backend.
    pub fn token_ids(&self, texts: &[&str], options: &EmbedOptions) -> Result<Vec<Vec<u32>>> {
        Ok(self.encoder.encode(texts, options)?.ids)
    }

    /// What really runs.
    #[must_use]
    pub fn backend(&self) -> &BackendInfo {
        self.runner.backend().info()
    }

    /// The model's sizes and pooling; for a checkpoint also its whole configuration.
    #[must_use]
    pub fn config(&self) -> &EmbeddingConfig {
        &self.encoder.config
    }

    /// The model's id, or the name of its directory.
    #[must_use]
    pub fn model(&self) -> &str {
        self.encoder.model()
    }

    /// The token that ends every text.
    #[must_use]
    pub fn eos_token_id(&self) -> u32 {
        self.encoder.eos_token_id()
    }

    /// Memory of the native library.
    ///
    /// # Errors
    /// [`Error::Backend`] when the native library fails.
    pub fn memory(&self) -> Result<MemoryUse> {
        self.runner.backend().memory()
    }

    /// What was computed since the model was loaded, and what was saved by prefixes that are kept.
    #[must_use]
    pub fn work(&self) -> Work {
        self.runner.backend().work()
    }

    /// What the device reaches at best, measured now, in about a second: the roofline under which
    /// a forward pass lies.
    ///
    /// # Errors
    /// [`Error::Backend`] when the native library fails.
    pub fn peaks(&mut self) -> Result<Peaks> {
        self.runner.backend.peaks()
    }

    /// Runs the texts as one batch while Metal records what the GPU does into `file`, a new
    /// `.gputrace` for Xcode. Run them once before, so that nothing is recorded that only a first
    /// pass does.
    ///
    /// # Errors
    /// As [`embed`](Self::embed); [`Error::BackendUnavailable`] where no Metal runs the model, or
    /// where the variable is not set that lets Metal record.
    pub fn capture_gpu_trace(
        &mut self,
        file: impl AsRef<Path>,
        texts: &[&str],
        options: &EmbedOptions,
    ) -> Result<()> {
        let ids = self.token_ids(texts, options)?;
        let sequences: Vec<&[u32]> = ids.iter().map(Vec::as_slice).collect();
        let batch = TokenBatch::new(&sequences, self.runner.vocab_size)?;
        self.runner.backend.capture(file.as_ref(), &batch).map(drop)
    }

    /// The space of the vectors that `options` give: what a database must find unchanged before it
    /// compares them with those that it holds.
    ///
    /// # Errors
    /// [`Error::Option`] for dimensions that the model does not have.
    pub fn space(&self, options: &EmbedOptions) -> Result<Space> {
        let dimensions = self.encoder.dimensions(options)?;
        Ok(self.encoder.space().clone().cut(dimensions))
    }

    /// The two halves, for callers on other threads than the device's.
    #[cfg(feature = "service")]
    pub(crate) fn into_halves(self) -> (Encoder, Runner) {
        (self.encoder, self.runner)
    }

    /// Runs checked sequences in micro-batches and puts the vectors back in order.
    fn run(
        &mut self,
        rows: &[Row<'_>],
        truncated: Vec<bool>,
        options: &EmbedOptions,
    ) -> Result<Embeddings> {
        if rows.is_empty() {
            return Err(Error::EmptyRequest);
        }
        let dimensions = self.encoder.dimensions(options)?;
        let mut data = vec![0.0; rows.len() * dimensions];
        let mut vectors: Vec<_> = data.chunks_exact_mut(dimensions).map(Some).collect();
        let planning = tracing::debug_span!("plan");
        let groups = planning.in_scope(|| batch::plan(rows, self.runner.max_batch_tokens()));
        let vocab_size = self.runner.vocab_size;
        let groups = groups.into_iter().map(|group| {
            let item = |&index: &usize| Item {
                row: rows[index],
                normalization: options.normalization,
                // A plan holds every position once.
                out: vectors[index].take().unwrap_or_default(),
            };
            let items = group.iter().map(item).collect();
            (Group::new(items, vocab_size), group)
        });
        let mut groups = groups.peekable();
        while let Some((group, positions)) = groups.next() {
            let next = groups.peek().and_then(|(next, _)| next.as_ref().ok());
            let results = self.runner.run(group?, next)?;
            for (result, index) in results.into_iter().zip(positions) {
                result.map_err(|error| error.at_input(index))?;
            }
        }
        drop(groups);
        Ok(Embeddings {
            data,
            dimensions,
            normalization: options.normalization,
            tokens: rows.iter().map(|row| row.ids.len()).collect(),
            truncated,
        })
    }
}
