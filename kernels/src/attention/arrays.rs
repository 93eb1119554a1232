//! What attention reads, and whether it fits together.

use crate::tile::UNROLLED;

/// What attends to what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heads {
    /// Sequences.
    pub sequences: usize,
    /// Tokens of each.
    pub tokens: usize,
    /// Tokens before the first of each, the same of all.
    pub past: usize,
    /// Heads of queries, a multiple of `key_value_heads`.
    pub heads: usize,
    /// Heads of keys and values.
    pub key_value_heads: usize,
    /// Elements of a head, an even number.
    pub size: usize,
}

impl Heads {
    /// Elements of a token's queries.
    pub(super) fn queries(&self) -> usize {
        self.heads * self.size
    }

    /// Elements of a token's keys, or of its values.
    pub(super) fn keys_or_values(&self) -> usize {
        self.key_value_heads * self.size
    }
}

/// Which tokens ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asking<'a> {
    /// All.
    All,
    /// One of each sequence, which is given by its place among the tokens of all sequences.
    One(&'a [i64]),
}

impl Asking<'_> {
    /// How many of a sequence ask.
    pub(super) fn of_sequence(&self, heads: Heads) -> usize {
        match self {
            Self::All => heads.tokens,
            Self::One(_) => 1,
        }
    }

    /// Whether each token that asks is one of its sequence.
    pub(super) fn check(&self, heads: Heads) -> Result<(), String> {
        let Self::One(places) = self else {
            return Ok(());
        };
        let are_within = places.iter().enumerate().all(|(sequence, place)| {
            let tokens = sequence * heads.tokens..(sequence + 1) * heads.tokens;
            usize::try_from(*place).is_ok_and(|place| tokens.contains(&place))
        });
        match are_within && places.len() == heads.sequences {
            true => Ok(()),
            false => Err(format!(
                "expected a token of each sequence of {heads:?}, found {places:?}"
            )),
        }
    }
}

/// What attention reads; B sequences of L tokens after a past of P.
#[derive(Debug, Clone, Copy)]
pub struct Arrays<'a> {
    /// Queries of the tokens that ask `(B * L, H * D)` or `(B, H * D)`, not normed.
    pub queries: &'a [f32],
    /// Keys `(B * L, KV * D)`, not normed.
    pub keys: &'a [f32],
    /// Values `(B * L, KV * D)`.
    pub values: &'a [f32],
    /// Keys, normed and turned, and values of the past, each `(P, KV * D)`.
    pub past: [&'a [f32]; 2],
    /// Weights of the RMS norms of a head of queries and of one of keys, each `(D)`.
    pub norms: [&'a [f32]; 2],
    /// Cosines and sines of the angles of positions, from 0 to that of the last token at least, each
    /// `(positions, D / 2)`.
    pub angles: [&'a [f32]; 2],
}

impl Arrays<'_> {
    /// Whether they, and an output of so many elements, are of these heads where so many tokens ask.
    pub(super) fn check(&self, heads: Heads, asking: usize, output: usize) -> Result<(), String> {
        let (tokens, size) = (heads.sequences * heads.tokens, heads.size);
        let asks = asking * heads.queries();
        let asked = tokens * heads.keys_or_values();
        let past = heads.past * heads.keys_or_values();
        let positions = (heads.past + heads.tokens) * (size / 2);
        let expected = [
            asks, asked, asked, past, past, size, size, positions, positions,
        ];
        let found = self.found(positions);
        let is_whole = heads.heads.is_multiple_of(heads.key_value_heads.max(1))
            && size > 0
            && size.is_multiple_of(UNROLLED);
        match found == expected && output == asks && is_whole {
            true => Ok(()),
            false => Err(format!(
                "expected arrays of {heads:?}, found {found:?} elements and {output} of the output"
            )),
        }
    }

    /// Elements of all, positions beyond the last token's apart.
    fn found(&self, positions: usize) -> [usize; 9] {
        let angles = self.angles.map(|angles| angles.len().min(positions));
        [
            self.queries.len(),
            self.keys.len(),
            self.values.len(),
            self.past[0].len(),
            self.past[1].len(),
            self.norms[0].len(),
            self.norms[1].len(),
            angles[0],
            angles[1],
        ]
    }
}
