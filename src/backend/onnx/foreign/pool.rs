//! Rows of tokens to one row for each sequence.

use crate::batch::TokenBatch;
use crate::model::Pooling;

/// `rows` is `[B, L, hidden]`, and `[B, hidden]` where the graph has pooled; the result is
/// `[B, hidden]`.
pub(super) fn pool(
    rows: Vec<f32>,
    batch: &TokenBatch,
    hidden: usize,
    pooling: Pooling,
) -> Vec<f32> {
    let first = match pooling {
        Pooling::Graph => return rows,
        Pooling::Mean => return means(&rows, batch, hidden),
        Pooling::Cls => |_: &usize| 0,
        Pooling::LastToken => |length: &usize| length - 1,
    };
    let sequences = rows.chunks_exact(batch.width() * hidden);
    let pooled = sequences.zip(batch.lengths()).flat_map(|(tokens, length)| {
        let start = first(length) * hidden;
        &tokens[start..start + hidden]
    });
    pooled.copied().collect()
}

/// Over the real tokens, in f64: thousands of f32 would lose digits.
fn means(rows: &[f32], batch: &TokenBatch, hidden: usize) -> Vec<f32> {
    let mut pooled = Vec::with_capacity(batch.rows() * hidden);
    let sequences = rows.chunks_exact(batch.width() * hidden);
    for (tokens, &length) in sequences.zip(batch.lengths()) {
        let mut sums = vec![0.0f64; hidden];
        for token in tokens.chunks_exact(hidden).take(length) {
            for (sum, &value) in sums.iter_mut().zip(token) {
                *sum += f64::from(value);
            }
        }
        pooled.extend(sums.iter().map(|sum| (sum / length as f64) as f32));
    }
    pooled
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pooled(pooling: Pooling) -> Vec<f32> {
        let batch = TokenBatch::new(&[&[1, 2, 3], &[4]], 10).unwrap();
        // Rows of two; what stands for padding is far off.
        let rows = vec![1.0, 2.0, 3.0, 4.0, 8.0, 9.0, 5.0, 6.0, 1e9, 1e9, 1e9, 1e9];
        pool(rows, &batch, 2, pooling)
    }

    #[test]
    fn padding_is_in_no_pooled_row() {
        assert_eq!(pooled(Pooling::Mean), [4.0, 5.0, 5.0, 6.0]);
        assert_eq!(pooled(Pooling::Cls), [1.0, 2.0, 5.0, 6.0]);
        assert_eq!(pooled(Pooling::LastToken), [8.0, 9.0, 5.0, 6.0]);
    }
}
