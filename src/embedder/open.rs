//! From a directory to a model that is loaded, and its tokenizer.

use std::panic::resume_unwind;
use std::path::Path;
use std::thread;

use crate::backend::Backend;
use crate::backend::select::{self, Request};
use crate::checkpoint::Checkpoint;
use crate::config::ModelConfig;
use crate::error::{Error, Result};
use crate::fingerprint::{self, WeightIdentity};
use crate::model::{EmbeddingConfig, Pooling};
use crate::modules;
use crate::onnx_file::OnnxModel;
use crate::prompt::Instructions;
use crate::tokenizer::Tokenizer;

/// A model's files, read and loaded.
pub(super) struct Opened {
    pub(super) config: EmbeddingConfig,
    pub(super) max_tokens: usize,
    pub(super) tokenizer: Tokenizer,
    pub(super) backend: Box<dyn Backend>,
    pub(super) weights: WeightIdentity,
}

/// A checkpoint in the released layout, on the backend that `open` gives.
pub(super) fn checkpoint(
    dir: &Path,
    pooling: Option<Pooling>,
    open: impl FnOnce(&ModelConfig, &Checkpoint) -> Result<Box<dyn Backend>>,
) -> Result<Opened> {
    let mapping = tracing::debug_span!("map").entered();
    let config = ModelConfig::from_file(&dir.join("config.json"))?;
    let declared = modules::read(dir)?;
    declared.check_last_token()?;
    if let Some(found) = pooling.filter(|&pooling| pooling != Pooling::LastToken) {
        return Err(Error::Option {
            option: "pooling",
            expected: format!("{}, which is the model's own", Pooling::LastToken),
            found: found.to_string(),
        });
    }
    drop(mapping);
    let (tokenizer, opened) = beside(
        || Tokenizer::from_dir(dir, config.vocab_size(), Instructions::Qwen3),
        || {
            let mapping = tracing::debug_span!("map");
            let checkpoint = mapping.in_scope(|| Checkpoint::open(dir, &config))?;
            Ok((open(&config, &checkpoint)?, checkpoint))
        },
    );
    let tokenizer = tokenizer?;
    let (backend, checkpoint) = opened?;
    let precision = backend.info().precision;
    let identifying = tracing::debug_span!("identify");
    let weights =
        identifying.in_scope(|| fingerprint::of_checkpoint(&config, &checkpoint, precision))?;
    let context = config.max_position_embeddings();
    Ok(Opened {
        weights,
        backend,
        max_tokens: declared.max_tokens.map_or(context, |n| n.min(context)),
        config: config.into(),
        tokenizer,
    })
}

/// A model as an ONNX file.
pub(super) fn onnx(dir: &Path, model: &OnnxModel, request: &Request) -> Result<Opened> {
    let config = model.config().clone();
    let (tokenizer, backend) = beside(
        || Tokenizer::from_dir(dir, config.vocab_size(), model.instructions()),
        || select::open_onnx(request, model),
    );
    Ok(Opened {
        tokenizer: tokenizer?,
        backend: backend?,
        weights: fingerprint::of_onnx(model)?,
        max_tokens: config.context(),
        config,
    })
}

/// Reads the tokenizer, half a second's work for the released one, on another thread while this one
/// loads the model.
fn beside<T>(
    read: impl Fn() -> Result<Tokenizer> + Sync,
    load: impl FnOnce() -> Result<T>,
) -> (Result<Tokenizer>, Result<T>) {
    thread::scope(|scope| {
        let reading = thread::Builder::new().spawn_scoped(scope, &read);
        let loaded = load();
        let waiting = tracing::debug_span!("tokenizer");
        let tokenizer = waiting.in_scope(|| match reading {
            Ok(reading) => reading.join().unwrap_or_else(|panic| resume_unwind(panic)),
            // The system gives no more threads.
            Err(_) => read(),
        });
        (tokenizer, loaded)
    })
}
