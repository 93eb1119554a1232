//! Causal attention of several heads, in tasks that threads may run in any order. Scores are stored for a
//! few tokens at a time, and only those of keys that one of these attends to are computed.

mod block;
mod laid;
mod softmax;

use pulp::Arch;

use super::output::Output;
use super::tasks::{Shares, Tasks};
use super::tile::UNROLLED;
use block::Block;

/// Tokens that are worth laying out keys and values for.
const LEAST_TOKENS: usize = 96;

/// What attends to what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heads {
    /// Sequences.
    pub sequences: usize,
    /// Tokens of each that ask.
    pub tokens: usize,
    /// Tokens of each that are asked: those before the first that asks, and these.
    pub keys: usize,
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

/// `softmax(q @ k.T / sqrt(size)) @ v` of each head, each token with itself and all before it.
pub struct Attention<'a> {
    heads: Heads,
    queries: &'a [f32],              // (B, L, H * D)
    keys_and_values: [&'a [f32]; 2], // (B, S, KV * D)
    output: Output,                  // (B * L, H * D)
    arch: Arch,
    /// One of the heads of keys of one sequence, and some of its tokens.
    shares: Shares,
}

impl<'a> Attention<'a> {
    /// Of queries `(B, L, H * D)`, keys and values `(B, S, KV * D)` into an output as the queries, for so
    /// many threads.
    ///
    /// # Errors
    /// What does not fit together.
    pub fn new(
        heads: Heads,
        [queries, keys, values]: [&'a [f32]; 3],
        output: &'a mut [f32],
        threads: usize,
    ) -> Result<Self, String> {
        let elements = |tokens, of_token| heads.sequences * tokens * of_token;
        let asking = elements(heads.tokens, heads.queries());
        let asked = elements(heads.keys, heads.keys_or_values());
        let found = [queries.len(), keys.len(), values.len(), output.len()];
        let is_whole = heads.heads.is_multiple_of(heads.key_value_heads.max(1))
            && heads.size > 0
            && heads.size.is_multiple_of(UNROLLED)
            && heads.keys >= heads.tokens;
        if found != [asking, asked, asked, asking] || !is_whole {
            return Err(format!(
                "expected arrays of {heads:?}, found {found:?} elements"
            ));
        }
        let blocks = heads.sequences * heads.key_value_heads;
        let most_parts = heads.tokens.div_ceil(LEAST_TOKENS);
        Ok(Self {
            heads,
            queries,
            keys_and_values: [keys, values],
            output: Output::new(output, heads.queries()),
            arch: Arch::new(),
            shares: Shares::new(blocks, most_parts, threads),
        })
    }
}

impl Tasks for Attention<'_> {
    fn tasks(&self) -> usize {
        self.shares.count()
    }

    fn run(&self, task: usize) {
        let heads = &self.heads;
        let blocks = heads.sequences * heads.key_value_heads;
        if let Some([block, tokens]) = self.shares.take(task, blocks, heads.tokens) {
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
