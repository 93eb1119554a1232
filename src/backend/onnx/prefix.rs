//! Keys and values of tokens that sequences have in common: the past of what comes after them.

use ort::memory::Allocator;
use ort::session::SessionOutputs;
use ort::value::{DynValue, Tensor};

use super::failed;
use crate::batch::TokenBatch;
use crate::config::ModelConfig;
use crate::error::Result;

/// A longer common prefix is reused as far as this: attention after a past stores its scores.
const LONGEST: usize = 512;

/// Tokens that must be saved for a second run to be worth while.
const LEAST_SAVED: usize = 64;

/// What attention needs to know of the first tokens of a sequence.
pub(super) struct Prefix {
    tokens: usize,
    layers: Vec<[DynValue; 2]>, // keys and values, each (1, KV, tokens, D)
}

impl Prefix {
    /// Of no token at all.
    pub(super) fn empty(config: &ModelConfig) -> Result<Self> {
        let shape = [1, config.num_key_value_heads(), 0, config.head_dim()];
        let array = || {
            let array = Tensor::<f32>::new(&Allocator::default(), shape);
            let array = array.map_err(|error| failed("allocate", error))?;
            Ok(array.into_dyn())
        };
        let layers = (0..config.num_hidden_layers()).map(|_| Ok([array()?, array()?]));
        Ok(Self {
            tokens: 0,
            layers: layers.collect::<Result<_>>()?,
        })
    }

    /// From the outputs of [`Form::Prefix`](super::graph::Form::Prefix).
    pub(super) fn of(tokens: usize, outputs: SessionOutputs<'_>) -> Result<Self> {
        let mut outputs = outputs.into_iter().map(|(_, value)| value);
        let mut layers = Vec::new();
        while let (Some(keys), Some(values)) = (outputs.next(), outputs.next()) {
            layers.push([keys, values]);
        }
        Ok(Self { tokens, layers })
    }

    pub(super) fn tokens(&self) -> usize {
        self.tokens
    }

    /// Keys and values of each layer, in order.
    pub(super) fn layers(&self) -> impl Iterator<Item = [&DynValue; 2]> {
        self.layers.iter().map(|[keys, values]| [keys, values])
    }
}

/// How many tokens to compute once for the whole batch; 0 where that does not pay. At least one
/// token of each sequence is left.
pub(super) fn worth_sharing(batch: &TokenBatch) -> usize {
    let shared = batch.shared_prefix().min(LONGEST);
    match shared * (batch.rows() - 1) {
        saved if saved >= LEAST_SAVED => shared,
        _ => 0,
    }
}
