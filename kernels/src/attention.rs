//! Causal attention of several heads, in tasks that threads may run in any order. Scores are stored for a
//! few tokens at a time, and only those of keys that one of these attends to are computed.

mod block;
mod head;
mod laid;
mod softmax;

use pulp::Arch;

use super::output::Output;
use super::tasks::{Shares, Tasks};
use super::tile::UNROLLED;
use block::Block;
use head::Embedding;

/// Tokens that are worth laying out keys and values for.
const LEAST_TOKENS: usize = 96;

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
    fn queries(&self) -> usize {
        self.heads * self.size
    }

    /// Elements of a token's keys, or of its values.
    fn keys_or_values(&self) -> usize {
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
    /// Whether each token that asks is one of its sequence.
    fn check(&self, heads: Heads) -> Result<(), String> {
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
    fn check(&self, heads: Heads, asking: usize, output: usize) -> Result<(), String> {
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

/// `softmax(q @ k.T / sqrt(size)) @ v` of each head, each token with itself and all before it; queries
/// and keys are normed and turned by the angles of their positions as they are read.
pub struct Attention<'a> {
    heads: Heads,
    asking: Asking<'a>,
    arrays: Arrays<'a>,
    eps: f32,
    output: Output, // as the queries
    arch: Arch,
    /// One of the heads of keys of one sequence, and some of its tokens.
    shares: Shares,
}

impl<'a> Attention<'a> {
    /// Of these arrays into an output as the queries, for so many threads; `eps` is of the norms.
    ///
    /// # Errors
    /// What does not fit together.
    pub fn new(
        heads: Heads,
        asking: Asking<'a>,
        arrays: Arrays<'a>,
        eps: f32,
        output: &'a mut [f32],
        threads: usize,
    ) -> Result<Self, String> {
        let of_sequence = match asking {
            Asking::All => heads.tokens,
            Asking::One(_) => 1,
        };
        arrays.check(heads, heads.sequences * of_sequence, output.len())?;
        asking.check(heads)?;
        let blocks = heads.sequences * heads.key_value_heads;
        Ok(Self {
            heads,
            asking,
            arrays,
            eps,
            output: Output::new(output, heads.queries()),
            arch: Arch::new(),
            shares: Shares::new(blocks, of_sequence.div_ceil(LEAST_TOKENS), threads),
        })
    }

    /// Writes keys, normed and turned, and values of the first sequence's first tokens, as many as there
    /// is room for, each `(tokens, KV * D)`: the past of what comes after them.
    ///
    /// # Errors
    /// There is room for more.
    pub fn keep(&self, [keys, values]: [&mut [f32]; 2]) -> Result<(), String> {
        let (heads, found) = (&self.heads, [keys.len(), values.len()]);
        let Some(kept) = self.arrays.values.get(..values.len()) else {
            return Err(format!("expected {heads:?}, found room for {found:?}"));
        };
        if heads.past > 0 || keys.len() != values.len() || heads.sequences == 0 {
            return Err(format!("expected no past, found {heads:?} and {found:?}"));
        }
        values.copy_from_slice(kept);
        for (token, keys) in keys.chunks_exact_mut(heads.keys_or_values()).enumerate() {
            for (head, to) in keys.chunks_exact_mut(heads.size).enumerate() {
                self.key(0, head, token, to);
            }
        }
        Ok(())
    }

    /// Tokens of a sequence that ask.
    fn asking_tokens(&self) -> usize {
        match self.asking {
            Asking::All => self.heads.tokens,
            Asking::One(_) => 1,
        }
    }

    /// Where one of the tokens of a sequence that ask stands, the past's counted too.
    #[inline(always)]
    fn position(&self, sequence: usize, token: usize) -> usize {
        let Heads { tokens, past, .. } = self.heads;
        match self.asking {
            Asking::All => past + token,
            Asking::One(places) => past + places[sequence] as usize - sequence * tokens,
        }
    }

    /// The scaled queries of a head of one of the tokens of a sequence that ask.
    #[inline(always)]
    fn query(&self, sequence: usize, head: usize, token: usize, to: &mut [f32]) {
        let (heads, all) = (&self.heads, self.arrays.queries);
        let row = sequence * self.asking_tokens() + token;
        let query = &all[row * heads.queries() + head * heads.size..][..heads.size];
        let embedding = Embedding {
            norm: self.arrays.norms[0],
            eps: self.eps,
            scale: (heads.size as f32).sqrt().recip(),
        };
        embedding.of(query, self.angles(self.position(sequence, token)), to);
    }

    /// A head of keys of a token of the past or of a sequence.
    #[inline(always)]
    fn key(&self, sequence: usize, head: usize, token: usize, to: &mut [f32]) {
        let (past, keys) = (self.arrays.past[0], self.arrays.keys);
        let embedding = Embedding {
            norm: self.arrays.norms[1],
            eps: self.eps,
            scale: 1.0,
        };
        match token.checked_sub(self.heads.past) {
            None => to.copy_from_slice(self.of_head(past, token, head)),
            Some(place) => {
                let key = self.of_head(keys, sequence * self.heads.tokens + place, head);
                embedding.of(key, self.angles(token), to);
            }
        }
    }

    /// A head of values of a token of the past or of a sequence.
    #[inline(always)]
    fn value(&self, sequence: usize, head: usize, token: usize) -> &[f32] {
        match token.checked_sub(self.heads.past) {
            None => self.of_head(self.arrays.past[1], token, head),
            Some(place) => {
                let row = sequence * self.heads.tokens + place;
                self.of_head(self.arrays.values, row, head)
            }
        }
    }

    #[inline(always)]
    fn of_head<'b>(&self, keys_or_values: &'b [f32], row: usize, head: usize) -> &'b [f32] {
        let (heads, size) = (&self.heads, self.heads.size);
        &keys_or_values[row * heads.keys_or_values() + head * size..][..size]
    }

    #[inline(always)]
    fn angles(&self, position: usize) -> [&[f32]; 2] {
        let half = self.heads.size / 2;
        self.arrays
            .angles
            .map(|angles| &angles[position * half..][..half])
    }
}

impl Tasks for Attention<'_> {
    fn tasks(&self) -> usize {
        self.shares.count()
    }

    fn run(&self, task: usize) {
        let heads = &self.heads;
        let blocks = heads.sequences * heads.key_value_heads;
        if let Some([block, tokens]) = self.shares.take(task, blocks, self.asking_tokens()) {
            self.arch.dispatch(Block {
                attention: self,
                sequence: block.start / heads.key_value_heads,
                key_head: block.start % heads.key_value_heads,
                tokens,
            });
        }
    }
}

#[cfg(test)]
mod tests;
