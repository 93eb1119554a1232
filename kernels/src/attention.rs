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
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn numbers(count: usize, step: usize) -> Vec<f32> {
        let numbers = (0..count).map(|i| (i * step % 257) as f32 / 64.0 - 2.0);
        numbers.collect()
    }

    fn run(heads: Heads, [q, k, v]: [&[f32]; 3], threads: usize, arch: Arch) -> Vec<f32> {
        let mut output = vec![f32::NAN; q.len()];
        let mut attention = Attention::new(heads, [q, k, v], &mut output, threads).unwrap();
        attention.arch = arch;
        // In any order, and a second time, which does nothing; beyond the last there is none.
        let all = (0..=attention.tasks()).rev();
        all.clone().chain(all).for_each(|task| attention.run(task));
        output
    }

    /// Each output by the definition, in f64.
    fn expected(heads: Heads, [q, k, v]: [&[f32]; 3]) -> Vec<f64> {
        let Heads {
            tokens, keys, size, ..
        } = heads;
        let group = heads.heads / heads.key_value_heads;
        let mut output = Vec::new();
        for sequence in 0..heads.sequences {
            for (token, head) in (0..tokens).flat_map(|t| (0..heads.heads).map(move |h| (t, h))) {
                let at = |all: &[f32], row: usize, heads: usize, head: usize, i: usize| {
                    f64::from(all[(row * heads + head) * size + i])
                };
                let of_key = |all: &[f32], key: usize, i| {
                    at(
                        all,
                        sequence * keys + key,
                        heads.key_value_heads,
                        head / group,
                        i,
                    )
                };
                let seen = keys - tokens + token + 1;
                let score = |key| {
                    let row = sequence * tokens + token;
                    let products =
                        (0..size).map(|i| at(q, row, heads.heads, head, i) * of_key(k, key, i));
                    products.sum::<f64>() / (size as f64).sqrt()
                };
                let scores: Vec<f64> = (0..seen).map(score).collect();
                let most = scores.iter().copied().fold(f64::MIN, f64::max);
                let weights = scores.iter().map(|score| (score - most).exp());
                let weights: Vec<f64> = weights.collect();
                let sum: f64 = weights.iter().sum();
                output.extend((0..size).map(|i| {
                    let weighed = weights
                        .iter()
                        .enumerate()
                        .map(|(key, w)| w * of_key(v, key, i));
                    weighed.sum::<f64>() / sum
                }));
            }
        }
        output
    }

    #[test]
    fn each_token_attends_to_itself_and_those_before_whatever_stands_beside_it() {
        for (sequences, tokens, before, heads, key_value_heads, size) in [
            (1, 1, 0, 1, 1, 2),
            (2, 30, 0, 4, 2, 16),
            (1, 210, 0, 2, 1, 64),
            (3, 9, 21, 4, 4, 34),
            (1, 130, 70, 6, 2, 128),
        ] {
            let keys = before + tokens;
            let heads = Heads {
                sequences,
                tokens,
                keys,
                heads,
                key_value_heads,
                size,
            };
            let q = numbers(sequences * tokens * heads.queries(), 89);
            let k = numbers(sequences * keys * heads.keys_or_values(), 101);
            let v = numbers(sequences * keys * heads.keys_or_values(), 61);
            let all = expected(heads, [&q, &k, &v]);
            for arch in [Arch::new(), Arch::Scalar] {
                let found = run(heads, [&q, &k, &v], 3, arch);
                for (found, expected) in found.iter().zip(&all) {
                    let error = (f64::from(*found) - expected).abs();
                    assert!(error <= 2e-6, "{heads:?}: {found}, expected {expected}");
                }
                // The last sequence alone, and of it the last tokens, whose past is longer.
                let [own, own_keys] = [q.len(), k.len()].map(|len| len - len / sequences);
                let alone = Heads {
                    sequences: 1,
                    ..heads
                };
                let [q, k, v] = [&q[own..], &k[own_keys..], &v[own_keys..]];
                assert!(run(alone, [q, k, v], 1, arch) == found[own..], "{heads:?}");
                let rest = tokens / 2;
                let alone = Heads {
                    tokens: tokens - rest,
                    ..alone
                };
                let skipped = rest * heads.queries();
                let last = run(alone, [&q[skipped..], k, v], 2, arch);
                assert!(last == found[own + skipped..], "{heads:?}");
            }
        }
    }

    #[test]
    fn what_is_no_number_stays_none_and_reaches_nothing_before_it() {
        let heads = Heads {
            sequences: 1,
            tokens: 3,
            keys: 3,
            heads: 1,
            key_value_heads: 1,
            size: 4,
        };
        let (q, v) = (numbers(12, 89), numbers(12, 61));
        let mut k = numbers(12, 101);
        let whole = run(heads, [&q, &k, &v], 1, Arch::new());
        k[5] = f32::NAN;
        let found = run(heads, [&q, &k, &v], 1, Arch::new());
        assert_eq!(found[..4], whole[..4]);
        assert!(found[4..].iter().all(|found| found.is_nan()));
    }

    #[test]
    fn what_does_not_fit_together_is_told() {
        let heads = Heads {
            sequences: 1,
            tokens: 2,
            keys: 3,
            heads: 2,
            key_value_heads: 1,
            size: 4,
        };
        let found = |heads, [q, k, v, o]: [usize; 4]| {
            let arrays = [q, k, v].map(|len| vec![0.0; len]);
            let mut output = vec![0.0; o];
            let arrays = arrays.each_ref().map(Vec::as_slice);
            Attention::new(heads, arrays, &mut output, 1).err()
        };
        assert_eq!(found(heads, [16, 12, 12, 16]), None);
        let message = found(heads, [16, 12, 8, 16]).unwrap();
        let told = format!("expected arrays of {heads:?}, found [16, 12, 8, 16] elements");
        assert_eq!(message, told);
        let fewer = Heads { keys: 1, ..heads };
        assert!(found(fewer, [16, 4, 4, 16]).is_some());
        let odd = Heads { size: 3, ..heads };
        assert!(found(odd, [12, 9, 9, 12]).is_some());
    }
}
