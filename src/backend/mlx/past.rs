//! Keys and values of tokens that are not computed again: the past of what comes after them.

use super::array::Array;
use crate::config::ModelConfig;
use crate::error::Result;

/// One layer's, rotated: each `(B, KV, tokens, D)`.
pub(super) struct KeyValues {
    pub(super) keys: Array,
    pub(super) values: Array,
}

impl KeyValues {
    pub(super) fn tokens(&self) -> usize {
        self.keys.shape()[2]
    }

    /// These behind those of one sequence, which all sequences here go on from.
    pub(super) fn after(self, past: Option<&Self>) -> Result<Self> {
        let Some(past) = past else {
            return Ok(self);
        };
        let join = |past: &Array, new: &Array| {
            let [b, kv, _, d] = [0, 1, 2, 3].map(|axis| new.shape()[axis]);
            let past = past.broadcast_to(&[b, kv, past.shape()[2], d])?;
            past.concatenate(new, 2)
        };
        Ok(Self {
            keys: join(&past.keys, &self.keys)?,
            values: join(&past.values, &self.values)?,
        })
    }

    /// The same, in memory that holds nothing else.
    fn alone(&self) -> Result<Self> {
        Ok(Self {
            keys: self.keys.copied()?,
            values: self.values.copied()?,
        })
    }
}

/// What attention needs to know of the first tokens of a sequence, layer by layer.
pub(super) struct Past {
    pub(super) layers: Vec<KeyValues>,
}

impl Past {
    /// Of the keys and values that a pass gave, computed now.
    pub(super) fn of(layers: &[KeyValues]) -> Result<Self> {
        Ok(Self {
            layers: layers.iter().map(KeyValues::alone).collect::<Result<_>>()?,
        })
    }

    /// Bytes of a token's keys and values in all layers, each element of so many bytes.
    pub(super) fn token_bytes(config: &ModelConfig, element: usize) -> usize {
        2 * config.key_value_size() * config.num_hidden_layers() * element
    }
}
