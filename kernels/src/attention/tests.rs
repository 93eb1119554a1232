//! Attention beside its definition.
#![allow(clippy::unwrap_used)]

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
