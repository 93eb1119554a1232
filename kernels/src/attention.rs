//! Causal attention of several heads, in tasks that threads may run in any order. Scores are stored for a
//! few tokens at a time, and only those of keys that one of these attends to are computed.

mod arrays;
mod block;
mod head;
mod laid;
mod softmax;

use pulp::Arch;

use super::output::Output;
use super::tasks::{Shares, Tasks};
use block::Block;
use head::Embedding;

pub use arrays::{Arrays, Asking, Heads};

/// Tokens that are worth laying out keys and values for.
const LEAST_TOKENS: usize = 96;

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
        let of_sequence = asking.of_sequence(heads);
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
        self.asking.of_sequence(self.heads)
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
