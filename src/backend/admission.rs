//! What a forward pass takes, told before it is run, and batches split until they fit.

use super::HiddenRows;
use crate::batch::TokenBatch;
use crate::config::ModelConfig;
use crate::error::{Error, Result};

/// How a backend computes attention.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Attention {
    /// A fused kernel that stores no scores.
    Fused,
    /// All scores of a layer are stored: sequences x heads x tokens x tokens.
    Stored,
}

/// What the widest layer of a forward pass allocates beside the weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Need {
    largest: usize, // elements of the largest array
    bytes: usize,
}

impl Need {
    /// An upper bound: every element is taken to be f32. Saturates instead of wrapping.
    pub(super) fn of(batch: &TokenBatch, config: &ModelConfig, attention: Attention) -> Self {
        Self::after(0, [batch.rows(), batch.width()], config, attention)
    }

    /// As [`of`](Self::of), for `rows` sequences of `width` tokens after a past of `past` tokens,
    /// whose keys and values are held once and, in one layer at a time, repeated for each sequence.
    pub(super) fn after(
        past: usize,
        [rows, width]: [usize; 2],
        config: &ModelConfig,
        attention: Attention,
    ) -> Self {
        let tokens = rows.saturating_mul(width);
        let scores = match attention {
            Attention::Fused => 0,
            Attention::Stored => tokens
                .saturating_mul(config.num_attention_heads())
                .saturating_mul(past.saturating_add(width)),
        };
        let keys_and_values = 2 * config.key_value_size();
        let qkv = config.query_size() + keys_and_values;
        let widest = tokens.saturating_mul(qkv.max(2 * config.intermediate_size()));
        // Residual, projections and MLP of one layer; scores and their softmax.
        let layer = 4 * config.hidden_size() + 2 * qkv + 4 * config.intermediate_size();
        let copies = rows
            .saturating_mul(2)
            .saturating_add(config.num_hidden_layers());
        let elements = tokens
            .saturating_mul(layer)
            .saturating_add(scores.saturating_mul(2))
            .saturating_add(past.saturating_mul(copies).saturating_mul(keys_and_values));
        Self {
            largest: scores.max(widest),
            bytes: elements.saturating_mul(4),
        }
    }

    /// As [`of`](Self::of), for one sequence that runs a layer at a time, and in it `piece` tokens
    /// at a time: the stream, and one layer's keys and values, are held whole.
    #[cfg(feature = "mlx")]
    pub(super) fn in_pieces(
        width: usize,
        piece: usize,
        config: &ModelConfig,
        attention: Attention,
    ) -> Self {
        let one = Self::after(0, [1, piece], config, Attention::Fused);
        let scores = match attention {
            Attention::Fused => 0,
            Attention::Stored => piece
                .saturating_mul(config.num_attention_heads())
                .saturating_mul(width),
        };
        // The stream before a layer, after it, and what was after it one piece ago; keys and values
        // now and one piece ago, and in the last layer before they are cut, normed and rotated.
        let token = 3 * config.hidden_size() + 8 * config.key_value_size();
        let elements = width
            .saturating_mul(token)
            .saturating_add(scores.saturating_mul(2));
        Self {
            largest: one.largest.max(scores).max(width.saturating_mul(token)),
            bytes: one.bytes.saturating_add(elements.saturating_mul(4)),
        }
    }

    /// What two passes take at one time.
    #[cfg(feature = "mlx")]
    pub(super) fn and(self, other: Self) -> Self {
        Self {
            largest: self.largest.max(other.largest),
            bytes: self.bytes.saturating_add(other.bytes),
        }
    }

    /// What one pass and then another takes.
    pub(super) fn or(self, other: Self) -> Self {
        Self {
            largest: self.largest.max(other.largest),
            bytes: self.bytes.max(other.bytes),
        }
    }

    /// Whether every array can be addressed and all of them fit into `free` bytes, where known;
    /// `place` says where those are.
    pub(super) fn check(self, free: Option<usize>, place: &str) -> Result<(), String> {
        let Self { largest, bytes } = self;
        if i32::try_from(largest).is_err() {
            return Err(format!(
                "the largest array would have {largest} elements, 2^31 or more"
            ));
        }
        match free {
            Some(free) if bytes > free => Err(format!(
                "about {bytes} bytes are needed and {free} are left {place}"
            )),
            _ => Ok(()),
        }
    }
}

/// Whether a model's weights, of `needed` bytes, can be held, checked before they are loaded: a
/// system may promise memory that it has not, and a library may answer a failed allocation with a
/// null buffer.
///
/// # Errors
/// [`Error::ModelTooLarge`] where these are more than `free`.
pub(super) fn check_weights(backend: &'static str, needed: u64, free: Option<usize>) -> Result<()> {
    match free.map(|free| free as u64) {
        Some(free) if needed > free => Err(Error::ModelTooLarge {
            backend,
            needed,
            free,
        }),
        _ => Ok(()),
    }
}

/// Runs the batch whole if `check` admits it, else halved until every part is admitted.
///
/// # Errors
/// [`Error::BatchTooLarge`] where one sequence alone is not admitted; those of `run`.
pub(super) fn run_admitted(
    backend: &'static str,
    batch: &TokenBatch,
    check: &dyn Fn(&TokenBatch) -> Result<(), String>,
    run: &mut dyn FnMut(&TokenBatch) -> Result<HiddenRows>,
) -> Result<HiddenRows> {
    match check(batch) {
        Ok(()) => run(batch),
        Err(_) if batch.rows() > 1 => {
            let (first, second) = (0..batch.rows() / 2, batch.rows() / 2..batch.rows());
            let mut rows = run_admitted(backend, &batch.part(first), check, run)?;
            let rest = run_admitted(backend, &batch.part(second), check, run)?;
            rows.data.extend(rest.data);
            Ok(rows)
        }
        Err(reason) => Err(Error::BatchTooLarge {
            backend,
            rows: batch.rows(),
            tokens: batch.width(),
            reason,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(lengths: &[usize]) -> TokenBatch {
        let sequences: Vec<Vec<u32>> = lengths
            .iter()
            .map(|&length| vec![u32::try_from(length).unwrap(); length])
            .collect();
        let sequences: Vec<&[u32]> = sequences.iter().map(Vec::as_slice).collect();
        TokenBatch::new(&sequences, 100).unwrap()
    }

    /// Admits at most `limit` tokens, padding included; a row's vector is its first id.
    fn run(lengths: &[usize], limit: usize) -> (Result<HiddenRows>, Vec<usize>) {
        let mut parts = Vec::new();
        let check = |batch: &TokenBatch| match batch.rows() * batch.width() {
            tokens if tokens > limit => Err(format!("{tokens} is more than {limit}")),
            _ => Ok(()),
        };
        let rows = run_admitted("a test", &batch(lengths), &check, &mut |batch| {
            parts.push(batch.rows());
            let rows = batch.ids().chunks_exact(batch.width());
            let data = rows.map(|row| row[0] as f32).collect();
            Ok(HiddenRows { data, hidden: 1 })
        });
        (rows, parts)
    }

    #[test]
    fn an_admitted_batch_runs_whole() {
        let (rows, parts) = run(&[3, 2, 1], 9);
        assert_eq!(rows.unwrap().data, [3.0, 2.0, 1.0]);
        assert_eq!(parts, [3]);
    }

    #[test]
    fn too_large_a_batch_runs_in_parts_and_keeps_its_order() {
        let (rows, parts) = run(&[1, 2, 3, 4, 5], 5);
        assert_eq!(rows.unwrap().data, [1.0, 2.0, 3.0, 4.0, 5.0]);
        assert_eq!(parts, [2, 1, 1, 1]);
    }

    #[test]
    fn one_sequence_that_is_too_large_is_an_error() {
        let (rows, _) = run(&[1, 6], 5);
        assert_eq!(
            rows.unwrap_err().to_string(),
            "6 tokens in 1 sequences are too many for a test: 6 is more than 5"
        );
    }

    #[test]
    fn a_need_is_checked_against_addresses_and_memory() {
        let need = |largest, bytes| Need { largest, bytes };
        let limit = i32::MAX as usize;
        assert_eq!(need(limit, 8).check(Some(8), "here"), Ok(()));
        assert_eq!(need(limit, usize::MAX).check(None, "here"), Ok(()));
        assert_eq!(
            need(limit + 1, 8).check(None, "here").unwrap_err(),
            "the largest array would have 2147483648 elements, 2^31 or more"
        );
        assert_eq!(
            need(1, 9).check(Some(8), "here").unwrap_err(),
            "about 9 bytes are needed and 8 are left here"
        );
    }
}
