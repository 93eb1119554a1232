//! Keys and values of tokens that are not computed again: the past of what comes after them.

use ort::memory::Allocator;
use ort::value::{DynValue, Tensor, ValueRef};

use super::failed;
use crate::batch::TokenBatch;
use crate::config::ModelConfig;
use crate::error::Result;

/// A longer common prefix is shared as far as this: it is computed by the form that gives out keys and
/// values, which takes more memory for each token than that of long sequences.
const LONGEST: usize = 512;

/// Tokens that must be saved for a second run to be worth while.
const LEAST_SAVED: usize = 64;

/// What attention needs to know of the first tokens of a sequence.
pub(super) struct Past {
    tokens: usize,
    layers: Vec<[Vec<f32>; 2]>, // keys and values, each (tokens, KV * D)
}

impl Past {
    /// Of no token.
    pub(super) fn empty(config: &ModelConfig) -> Self {
        let layers = (0..config.num_hidden_layers()).map(|_| Default::default());
        Self {
            tokens: 0,
            layers: layers.collect(),
        }
    }

    /// Of so many tokens, each layer's keys and then its values.
    pub(super) fn of<'a>(
        tokens: usize,
        mut arrays: impl Iterator<Item = ValueRef<'a>>,
    ) -> Result<Self> {
        let copied = |value: ValueRef<'_>| {
            let array = value.try_extract_tensor::<f32>();
            Ok(array.map_err(|error| failed("run", error))?.1.to_vec())
        };
        let mut layers = Vec::new();
        while let (Some(keys), Some(values)) = (arrays.next(), arrays.next()) {
            layers.push([copied(keys)?, copied(values)?]);
        }
        Ok(Self { tokens, layers })
    }

    pub(super) fn tokens(&self) -> usize {
        self.tokens
    }

    /// Keys and values of each layer, in order.
    pub(super) fn layers(&self) -> &[[Vec<f32>; 2]] {
        &self.layers
    }

    /// Bytes of a token's keys and values in all layers.
    pub(super) fn token_bytes(config: &ModelConfig) -> usize {
        2 * config.key_value_size() * config.num_hidden_layers() * size_of::<f32>()
    }
}

/// A layer's keys or values of no token: `(1, 0, KV * D)`.
pub(super) fn nothing(config: &ModelConfig) -> Result<DynValue> {
    let array = Tensor::<f32>::new(&Allocator::default(), [1, 0, config.key_value_size()]);
    let array = array.map_err(|error| failed("allocate", error))?;
    Ok(array.into_dyn())
}

/// Whether it pays to compute the first `tokens` tokens once for the whole batch.
pub(super) fn pays(tokens: usize, batch: &TokenBatch) -> bool {
    tokens * (batch.rows() - 1) >= LEAST_SAVED
}

/// How many tokens to compute once for the whole batch; 0 where that does not pay. At least one
/// token of each sequence is left.
pub(super) fn worth_sharing(batch: &TokenBatch) -> usize {
    match batch.shared_prefix().min(LONGEST) {
        shared if pays(shared, batch) => shared,
        _ => 0,
    }
}
