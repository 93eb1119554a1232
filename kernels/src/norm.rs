//! RMS norm.

use pulp::{Arch, Simd, WithSimd};

use super::output::Output;
use super::tasks::{ELEMENTS, Shares, TASKS, Tasks};

/// Elements that are summed each by itself, so that they are one vector or more.
const LANES: usize = 16;

/// What RMS norm multiplies elements by, before their weights: `1 / sqrt(mean(x * x) + eps)`.
#[inline(always)]
pub(super) fn factor(x: &[f32], eps: f32) -> f32 {
    let (whole, rest) = x.as_chunks::<LANES>();
    let mut sums = [0.0; LANES];
    for x in whole {
        for (sum, x) in sums.iter_mut().zip(x) {
            *sum += x * x;
        }
    }
    for (sum, x) in sums.iter_mut().zip(rest) {
        *sum += x * x;
    }
    (sums.iter().sum::<f32>() / x.len() as f32 + eps)
        .sqrt()
        .recip()
}

/// The sum of two arrays, and its RMS norm over the last axis.
pub struct NormedSum<'a> {
    terms: [&'a [f32]; 2], // (T, hidden)
    weight: &'a [f32],     // (hidden)
    eps: f32,
    normed: Output,
    sum: Output,
    arch: Arch,
    shares: Shares,
}

impl<'a> NormedSum<'a> {
    /// Of two arrays `(T, hidden)` and a weight `(hidden)` into the normed sum and the sum, both
    /// `(T, hidden)`, for so many threads.
    ///
    /// # Errors
    /// What does not fit together.
    pub fn new(
        terms: [&'a [f32]; 2],
        weight: &'a [f32],
        eps: f32,
        [normed, sum]: [&'a mut [f32]; 2],
        threads: usize,
    ) -> Result<Self, String> {
        let hidden = weight.len();
        let found = [terms[0].len(), terms[1].len(), normed.len(), sum.len()];
        if found.iter().any(|len| *len != found[0]) || !found[0].is_multiple_of(hidden.max(1)) {
            return Err(format!(
                "expected arrays of rows of {hidden}, found {found:?} elements"
            ));
        }
        let [normed, sum] = [normed, sum].map(|array| Output::new(array, hidden));
        let blocks = found[0].div_ceil(ELEMENTS).min(normed.rows);
        let blocks = blocks.min(TASKS * threads);
        Ok(Self {
            terms,
            weight,
            eps,
            normed,
            sum,
            arch: Arch::new(),
            shares: Shares::new(blocks, 1, threads),
        })
    }
}

impl Tasks for NormedSum<'_> {
    fn tasks(&self) -> usize {
        self.shares.count()
    }

    fn run(&self, task: usize) {
        if let Some([rows, _]) = self.shares.take(task, self.normed.rows, 1) {
            for row in rows {
                self.arch.dispatch(Row { of: self, row });
            }
        }
    }
}

struct Row<'a> {
    of: &'a NormedSum<'a>,
    row: usize,
}

impl WithSimd for Row<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let (of, row, hidden) = (self.of, self.row, self.of.weight.len());
        let [a, b] = of.terms.map(|term| &term[row * hidden..][..hidden]);
        let [sum] = of.sum.at(row, 0, hidden);
        for ((sum, a), b) in sum.iter_mut().zip(a).zip(b) {
            *sum = a + b;
        }
        let by = factor(sum, of.eps);
        let [normed] = of.normed.at(row, 0, hidden);
        for ((normed, sum), weight) in normed.iter_mut().zip(sum).zip(of.weight) {
            *normed = *sum * by * weight;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn numbers(count: usize, step: usize) -> Vec<f32> {
        let numbers = (0..count).map(|i| (i * step % 257) as f32 / 64.0 - 2.0);
        numbers.collect()
    }

    #[test]
    fn a_sum_is_normed_as_defined_whatever_rows_stand_beside_it() {
        const EPS: f32 = 1e-6;
        for (rows, hidden) in [(0, 8), (1, 1), (3, 34), (400, 128)] {
            let (a, b) = (numbers(rows * hidden, 89), numbers(rows * hidden, 61));
            let weight = numbers(hidden, 101);
            for arch in [Arch::new(), Arch::Scalar] {
                let [mut normed, mut sum] = [(); 2].map(|()| vec![f32::NAN; rows * hidden]);
                let to = [&mut *normed, &mut *sum];
                let mut work = NormedSum::new([&a, &b], &weight, EPS, to, 3).unwrap();
                work.arch = arch;
                // The second time it does nothing, and beyond the last there is none.
                let all = (0..=work.tasks()).rev();
                all.clone().chain(all).for_each(|task| work.run(task));
                for row in 0..rows {
                    let elements = row * hidden..(row + 1) * hidden;
                    let expected: Vec<f64> = elements
                        .clone()
                        .map(|i| f64::from(a[i]) + f64::from(b[i]))
                        .collect();
                    let squares: f64 = expected.iter().map(|sum| sum * sum).sum();
                    let root = (squares / hidden as f64 + f64::from(EPS)).sqrt();
                    for (i, (at, wide)) in elements.zip(expected).enumerate() {
                        assert!((f64::from(sum[at]) - wide).abs() <= 1e-6);
                        let wide = wide / root * f64::from(weight[i]);
                        assert!((f64::from(normed[at]) - wide).abs() <= 1e-6 * wide.abs());
                    }
                }
            }
        }
    }

    #[test]
    fn what_does_not_fit_together_is_told() {
        let found = |lens: [usize; 4]| {
            let [a, b, mut normed, mut sum] = lens.map(|len| vec![0.0; len]);
            let to = [&mut *normed, &mut *sum];
            NormedSum::new([&a, &b], &[1.0; 4], 0.0, to, 1).err()
        };
        assert_eq!(found([8; 4]), None);
        let told = "expected arrays of rows of 4, found [8, 4, 8, 8] elements";
        assert_eq!(found([8, 4, 8, 8]).unwrap(), told);
        assert!(found([6; 4]).is_some());
    }
}
