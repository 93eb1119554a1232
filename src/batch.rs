//! Sequences to micro-batches: planned by length and prefix, padded on the right.

mod plan;

use crate::error::{Error, Result};

pub use plan::{Row, plan};

/// Token sequences of one forward pass, right-padded to the longest.
///
/// A batch that exists is correct: no sequence is empty and every id has a row in the
/// embedding table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenBatch {
    ids: Vec<u32>,
    lengths: Vec<usize>,
    width: usize,
    prefix: usize,
}

impl TokenBatch {
    /// Pads `sequences` on the right.
    ///
    /// The padding id is 0 and of no consequence: attention is causal, so what stands to the
    /// right of a sequence's last token cannot reach it.
    ///
    /// # Errors
    /// [`Error::EmptyRequest`], [`Error::EmptyTokens`] and [`Error::TokenId`], with positions
    /// counted within `sequences`.
    pub fn new(sequences: &[&[u32]], vocab_size: usize) -> Result<Self> {
        let width = sequences.iter().map(|sequence| sequence.len()).max();
        let width = width.ok_or(Error::EmptyRequest)?;
        let mut ids = Vec::with_capacity(sequences.len() * width);
        for (index, sequence) in sequences.iter().enumerate() {
            check_ids(index, sequence, vocab_size)?;
            ids.extend_from_slice(sequence);
            ids.resize((index + 1) * width, 0);
        }
        Ok(Self {
            ids,
            lengths: sequences.iter().map(|sequence| sequence.len()).collect(),
            width,
            prefix: 0,
        })
    }

    /// The batch with a prefix: the first `tokens` tokens, as far as all sequences share them.
    #[must_use]
    pub fn with_prefix(self, tokens: usize) -> Self {
        Self {
            prefix: tokens.min(self.shared_prefix()),
            ..self
        }
    }

    /// How many of the tokens that all sequences begin with others are likely to begin with too, so
    /// that their keys and values are worth keeping; fewer than the tokens of any sequence.
    #[must_use]
    pub fn prefix(&self) -> usize {
        self.prefix
    }

    /// Sequences.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.lengths.len()
    }

    /// Tokens of the longest sequence: the length of every padded row.
    #[must_use]
    pub fn width(&self) -> usize {
        self.width
    }

    /// Ids, row-major `[rows, width]`.
    #[must_use]
    pub fn ids(&self) -> &[u32] {
        &self.ids
    }

    /// Tokens of each sequence, padding not counted.
    #[must_use]
    pub fn lengths(&self) -> &[usize] {
        &self.lengths
    }

    /// Where the last token of each sequence stands in the flattened `[rows * width]`.
    pub fn last_tokens(&self) -> impl Iterator<Item = usize> + '_ {
        let row_start = (0..).step_by(self.width);
        row_start
            .zip(&self.lengths)
            .map(|(start, length)| start + length - 1)
    }

    /// Tokens with which all sequences begin, one of each sequence not counted.
    #[must_use]
    pub fn shared_prefix(&self) -> usize {
        let mut rows = self.ids.chunks_exact(self.width);
        let first = rows.next().unwrap_or_default();
        let shortest = self.lengths.iter().min().map_or(0, |length| length - 1);
        rows.fold(shortest, |shared, row| {
            let pairs = first.iter().zip(row).take(shared);
            pairs.take_while(|(a, b)| a == b).count()
        })
    }

    /// The first `tokens` tokens of the first sequence, and all sequences without as many tokens;
    /// `tokens` is at most [`shared_prefix`](Self::shared_prefix), and not 0.
    #[cfg(any(test, feature = "mlx", feature = "onnx"))]
    pub(crate) fn split_at(&self, tokens: usize) -> (Self, Self) {
        let rows = self.ids.chunks_exact(self.width);
        let first = Self {
            ids: self.ids[..tokens].to_vec(),
            lengths: vec![tokens],
            width: tokens,
            prefix: 0,
        };
        let rest = Self {
            ids: rows.flat_map(|row| &row[tokens..]).copied().collect(),
            lengths: self.lengths.iter().map(|length| length - tokens).collect(),
            width: self.width - tokens,
            prefix: 0,
        };
        (first, rest)
    }

    /// The sequences `rows` as a batch of their own, padded to the longest among them.
    #[must_use]
    pub fn part(&self, rows: std::ops::Range<usize>) -> Self {
        let lengths = self.lengths[rows.clone()].to_vec();
        let width = lengths.iter().copied().max().unwrap_or(0);
        let ids = self.ids[rows.start * self.width..rows.end * self.width]
            .chunks_exact(self.width)
            .flat_map(|row| &row[..width])
            .copied()
            .collect();
        Self {
            ids,
            lengths,
            width,
            prefix: self.prefix,
        }
    }
}

/// Checks one sequence of token ids; `index` is its position in the request.
pub(crate) fn check_ids(index: usize, sequence: &[u32], vocab_size: usize) -> Result<()> {
    if sequence.is_empty() {
        return Err(Error::EmptyTokens { index });
    }
    match sequence.iter().position(|&id| id as usize >= vocab_size) {
        None => Ok(()),
        Some(position) => Err(Error::TokenId {
            index,
            position,
            id: sequence[position],
            vocab_size,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pads_on_the_right_and_finds_the_last_token() {
        let batch = TokenBatch::new(&[&[5, 6, 7], &[8]], 10).unwrap();
        assert_eq!(batch.ids(), [5, 6, 7, 8, 0, 0]);
        assert_eq!(batch.last_tokens().collect::<Vec<_>>(), [2, 3]);
    }

    #[test]
    fn a_part_is_padded_to_its_own_longest_sequence() {
        let batch = TokenBatch::new(&[&[1, 2, 3], &[4], &[5, 6]], 10).unwrap();
        assert_eq!(
            batch.part(1..3),
            TokenBatch::new(&[&[4], &[5, 6]], 10).unwrap()
        );
    }

    #[test]
    fn a_shared_prefix_leaves_a_token_of_each_sequence() {
        let batch = |sequences: &[&[u32]]| TokenBatch::new(sequences, 10).unwrap();
        let shared = |sequences: &[&[u32]]| batch(sequences).shared_prefix();
        assert_eq!(shared(&[&[1, 2, 3, 4], &[1, 2, 5]]), 2);
        assert_eq!(shared(&[&[1, 2, 3], &[1, 2, 3, 4], &[1, 2]]), 1);
        assert_eq!(shared(&[&[1, 2], &[3, 2]]), 0);
        assert_eq!(shared(&[&[1, 2, 3]]), 2);
        assert_eq!(
            batch(&[&[1, 2, 3, 4], &[1, 2, 5]]).split_at(2),
            (batch(&[&[1, 2]]), batch(&[&[3, 4], &[5]]))
        );
    }

    #[test]
    fn a_prefix_is_what_all_sequences_share_and_parts_keep_it() {
        let batch = TokenBatch::new(&[&[1, 2, 3, 4], &[1, 2, 5]], 10).unwrap();
        assert_eq!(batch.prefix(), 0);
        assert_eq!(batch.clone().with_prefix(1).prefix(), 1);
        let batch = batch.with_prefix(3);
        assert_eq!(batch.prefix(), 2);
        assert_eq!(batch.part(1..2).prefix(), 2);
    }

    #[test]
    fn refuses_what_cannot_be_embedded() {
        let error = |sequences: &[&[u32]]| TokenBatch::new(sequences, 10).unwrap_err().to_string();
        assert_eq!(
            error(&[]),
            "the request is empty: expected at least one input"
        );
        assert_eq!(
            error(&[&[1], &[]]),
            "input 1: expected at least one token id, found none"
        );
        assert_eq!(
            error(&[&[1, 10]]),
            "input 0: token id 10 at position 1: expected an id below 10"
        );
    }
}
