//! Orthogonal matrices that spread a few large elements of a row over all of it, and cost little.
//!
//! `x -> x @ diag(signs) @ (C (x) H)`, H the normalised Hadamard matrix of the width's largest power
//! of two, C the orthonormal cosine transform (DCT-II) of what is left, 1 for most widths.

use std::f64::consts::PI;

/// One such matrix; the same on every machine for the same width.
pub(super) struct Rotation {
    signs: Vec<f32>,
    /// `(odd, odd)`, row by row.
    cosines: Vec<f32>,
    odd: usize,
}

impl Rotation {
    pub(super) fn new(width: usize) -> Self {
        let odd = width >> width.trailing_zeros();
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        Self {
            signs: (0..width).map(|_| sign(&mut state)).collect(),
            cosines: (0..odd * odd)
                .map(|i| cosine(odd, i / odd, i % odd))
                .collect(),
            odd,
        }
    }

    pub(super) fn width(&self) -> usize {
        self.signs.len()
    }

    /// Multiplies each row, of this width, from the right.
    pub(super) fn apply(&self, rows: &mut [f32]) {
        for row in rows.chunks_exact_mut(self.width()) {
            for (value, sign) in row.iter_mut().zip(&self.signs) {
                *value *= sign;
            }
            row.chunks_exact_mut(self.width() / self.odd)
                .for_each(hadamard);
            self.mix(row, |from, to| self.cosines[from * self.odd + to]);
        }
    }

    /// Multiplies each row by the inverse, which is the transpose.
    pub(super) fn undo(&self, rows: &mut [f32]) {
        for row in rows.chunks_exact_mut(self.width()) {
            self.mix(row, |from, to| self.cosines[to * self.odd + from]);
            row.chunks_exact_mut(self.width() / self.odd)
                .for_each(hadamard);
            for (value, sign) in row.iter_mut().zip(&self.signs) {
                *value *= sign;
            }
        }
    }

    /// The factor C on the row's parts.
    fn mix(&self, row: &mut [f32], factor: impl Fn(usize, usize) -> f32) {
        if self.odd == 1 {
            return;
        }
        let part = self.width() / self.odd;
        let mut column = vec![0.0; self.odd];
        for place in 0..part {
            for (to, sum) in column.iter_mut().enumerate() {
                let parts = (0..self.odd).map(|from| row[from * part + place] * factor(from, to));
                *sum = parts.sum();
            }
            for (to, value) in column.iter().enumerate() {
                row[to * part + place] = *value;
            }
        }
    }
}

/// The normalised Hadamard transform of a row whose length is a power of two: its own inverse.
fn hadamard(row: &mut [f32]) {
    let mut half = 1;
    while half < row.len() {
        for pair in row.chunks_exact_mut(2 * half) {
            let (low, high) = pair.split_at_mut(half);
            for (a, b) in low.iter_mut().zip(high) {
                (*a, *b) = (*a + *b, *a - *b);
            }
        }
        half *= 2;
    }
    let scale = (row.len() as f32).sqrt().recip();
    row.iter_mut().for_each(|value| *value *= scale);
}

fn cosine(size: usize, row: usize, column: usize) -> f32 {
    let norm = if column == 0 { 1.0 } else { 2.0 };
    let angle = PI * (row as f64 + 0.5) * column as f64 / size as f64;
    ((norm / size as f64).sqrt() * angle.cos()) as f32
}

/// SplitMix64's top bit.
fn sign(state: &mut u64) -> f32 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut bits = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    if (bits ^ (bits >> 31)) >> 63 == 0 {
        1.0
    } else {
        -1.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WIDTHS: [usize; 6] = [1, 7, 64, 96, 160, 1024];

    #[test]
    fn rows_of_the_identity_become_orthonormal_and_come_back() {
        for width in WIDTHS {
            let rotation = Rotation::new(width);
            let identity: Vec<f32> = (0..width * width)
                .map(|i| f32::from(u8::from(i / width == i % width)))
                .collect();
            let mut rows = identity.clone();
            rotation.apply(&mut rows);
            for (i, a) in rows.chunks_exact(width).enumerate() {
                for (j, b) in rows.chunks_exact(width).enumerate().take(i + 1) {
                    let dot: f32 = a.iter().zip(b).map(|(a, b)| a * b).sum();
                    let expected = f32::from(u8::from(i == j));
                    assert!((dot - expected).abs() < 1e-5, "{width}, {i}, {j}: {dot}");
                }
            }
            rotation.undo(&mut rows);
            for (found, expected) in rows.iter().zip(&identity) {
                assert!((found - expected).abs() < 1e-5, "{width}");
            }
        }
    }

    #[test]
    fn one_large_element_is_spread_over_the_row() {
        for width in [96, 160, 1024] {
            let mut row = vec![0.0; width];
            row[width / 3] = 1.0;
            Rotation::new(width).apply(&mut row);
            let largest = row
                .iter()
                .fold(0.0_f32, |most, value| most.max(value.abs()));
            // At most sqrt(2) of what an even spread gives: the cosine transform's largest factor.
            assert!(largest <= 1.5 / (width as f32).sqrt(), "{width}: {largest}");
        }
    }
}
