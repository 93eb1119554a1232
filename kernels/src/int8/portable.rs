//! Products of any processor.

use super::{Kind, Sums};
use crate::ahead::Ahead;

pub(super) fn multiply<const ROWS: usize>(
    x: &[[u32; ROWS]],
    weights: &[u8],
    ahead: &mut Ahead,
    sums: &mut [Sums; ROWS],
) {
    let width = Kind::Portable.width();
    let inputs = Kind::Portable.inputs();
    for (words, step) in x.iter().zip(weights.chunks_exact(width * inputs)) {
        ahead.step();
        for (word, sums) in words.iter().zip(&mut *sums) {
            let row = word.to_ne_bytes();
            for (weights, sum) in step.chunks_exact(inputs).zip(&mut sums.0) {
                for (weight, x) in weights.iter().zip(row) {
                    *sum += i32::from(weight.cast_signed()) * i32::from(x.cast_signed());
                }
            }
        }
    }
}
