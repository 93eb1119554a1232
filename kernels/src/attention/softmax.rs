//! What scores weigh.

use crate::exp::exp;

/// Scores of a row that are summed each by itself, so that they are one vector or more.
pub(super) const LANES: usize = 8;

/// Turns the first `seen` scores of a row into what they weigh beside the largest, and the others to
/// zero; gives the sum.
#[inline(always)]
pub(super) fn exponentials(row: &mut [f32], seen: usize) -> f32 {
    row[seen..].fill(f32::NEG_INFINITY);
    let mut most = [f32::NEG_INFINITY; LANES];
    for scores in row.as_chunks::<LANES>().0 {
        for (most, score) in most.iter_mut().zip(scores) {
            *most = if score > most { *score } else { *most };
        }
    }
    let most = most.into_iter().fold(f32::NEG_INFINITY, f32::max);
    for score in &mut *row {
        *score = exp(*score - most);
    }
    row[seen..].fill(0.0);
    let mut sums = [0.0; LANES];
    for weights in row.as_chunks::<LANES>().0 {
        for (sum, weight) in sums.iter_mut().zip(weights) {
            *sum += weight;
        }
    }
    sums.iter().sum()
}
