//! Attention as it is defined, in f64.

use super::{Arrays, EPS, Heads};

/// A head, normed and turned, in f64.
fn embedded(head: &[f32], norm: &[f32], [cosines, sines]: [&[f32]; 2]) -> Vec<f64> {
    let squares = head.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>();
    let root = (squares / head.len() as f64 + f64::from(EPS)).sqrt();
    let normed = head.iter().zip(norm);
    let normed: Vec<f64> = normed
        .map(|(x, weight)| f64::from(*x) / root * f64::from(*weight))
        .collect();
    let half = head.len() / 2;
    let turned = |i: usize| {
        let (cosine, sine) = (f64::from(cosines[i % half]), f64::from(sines[i % half]));
        match i < half {
            true => normed[i] * cosine - normed[i + half] * sine,
            false => normed[i] * cosine + normed[i - half] * sine,
        }
    };
    (0..head.len()).map(turned).collect()
}

/// Each output by the definition, in f64; all tokens ask.
pub(super) fn expected(heads: Heads, arrays: Arrays<'_>) -> Vec<f64> {
    let rows = 0..heads.sequences * heads.tokens;
    let of_row = |row: usize| (0..heads.heads).map(move |head| (row, head));
    rows.flat_map(of_row)
        .flat_map(|(row, head)| expected_of(heads, arrays, row, head))
        .collect()
}

/// Of a head of a token of all sequences.
fn expected_of(heads: Heads, arrays: Arrays<'_>, row: usize, head: usize) -> Vec<f64> {
    let (size, past, kv) = (heads.size, heads.past, heads.key_value_heads);
    let (sequence, token) = (row / heads.tokens, row % heads.tokens);
    let key_head = head / (heads.heads / kv);
    let angles = |position: usize| {
        let of_position = position * (size / 2)..(position + 1) * (size / 2);
        arrays.angles.map(|angles| &angles[of_position.clone()])
    };
    let wide = |all: &[f32], row: usize| -> Vec<f64> {
        let of_row = all[(row * kv + key_head) * size..][..size].iter();
        of_row.map(|element| f64::from(*element)).collect()
    };
    let row_of = |key: usize| sequence * heads.tokens + key - past;
    let key = |key: usize| match key < past {
        true => wide(arrays.past[0], key),
        false => {
            let head = &arrays.keys[(row_of(key) * kv + key_head) * size..][..size];
            embedded(head, arrays.norms[1], angles(key))
        }
    };
    let value = |key: usize| match key < past {
        true => wide(arrays.past[1], key),
        false => wide(arrays.values, row_of(key)),
    };
    let query = &arrays.queries[(row * heads.heads + head) * size..][..size];
    let query = embedded(query, arrays.norms[0], angles(past + token));
    let score = |of: usize| {
        let products = key(of)
            .into_iter()
            .zip(&query)
            .map(|(key, query)| key * query);
        products.sum::<f64>() / (size as f64).sqrt()
    };
    let scores: Vec<f64> = (0..=past + token).map(score).collect();
    weighed(&scores, value, size)
}

/// The sum of values by the softmax of scores.
fn weighed(scores: &[f64], value: impl Fn(usize) -> Vec<f64>, size: usize) -> Vec<f64> {
    let most = scores.iter().copied().fold(f64::MIN, f64::max);
    let weights: Vec<f64> = scores.iter().map(|score| (score - most).exp()).collect();
    let sum: f64 = weights.iter().sum();
    let mut output = vec![0.0; size];
    for (of, weight) in weights.iter().enumerate() {
        for (output, value) in output.iter_mut().zip(value(of)) {
            *output += weight * value / sum;
        }
    }
    output
}
