//! A product of integers in tasks that threads may run in any order.

use super::QuantizedRows;
use super::block::Block;
use crate::layout::{Element, Layout};
use crate::output::Output;
use crate::tasks::{Shares, Tasks};

/// Bytes of rows that a task multiplies by the same weights: they stay in the second cache.
const BLOCK: usize = 128 << 10;

/// `x @ weight.T`, or that of two weights and `silu(gate) * up` of these, into rows of an output.
pub struct Int8Product<'a> {
    pub(super) layout: &'a Layout,
    pub(super) weights: &'a [u8],
    /// The other weight, laid out alike, whose products gate those of the first.
    pub(super) gate: Option<&'a [u8]>,
    pub(super) rows: &'a QuantizedRows,
    pub(super) output: Output,
    shares: Shares,
}

impl<'a> Int8Product<'a> {
    /// Of rows `(T, in)` to `(T, out)` by the weight that lies in `weights` as `layout` says, for so
    /// many threads.
    ///
    /// # Errors
    /// What does not fit together.
    pub fn new(
        layout: &'a Layout,
        weights: &'a [u8],
        rows: &'a QuantizedRows,
        output: &'a mut [f32],
        threads: usize,
    ) -> Result<Self, String> {
        layout.check(weights, &[Element::Int8])?;
        let (inputs, outputs) = (layout.inputs, layout.outputs);
        let tiles = &rows.tiles;
        if (rows.kind, rows.inputs) != (layout.kind, inputs) || output.len() != tiles.rows * outputs
        {
            let (found, given) = (rows.inputs, output.len());
            return Err(format!(
                "expected rows of {inputs} to {} rows of {outputs}, found {found} to {given} elements",
                tiles.rows
            ));
        }
        let of_block = BLOCK / (inputs * layout.kind.rows()).max(1);
        let blocks = tiles.count.div_ceil(of_block.max(2));
        Ok(Self {
            layout,
            weights,
            gate: None,
            rows,
            output: Output::new(output, outputs),
            shares: Shares::new(blocks, layout.panels(), threads),
        })
    }

    /// `silu(x @ gate.T) * (x @ up.T)`, see [`new`](Self::new).
    ///
    /// # Errors
    /// What does not fit together.
    pub fn gated(
        layout: &'a Layout,
        [gate, up]: [&'a [u8]; 2],
        rows: &'a QuantizedRows,
        output: &'a mut [f32],
        threads: usize,
    ) -> Result<Self, String> {
        layout.check(gate, &[Element::Int8])?;
        Ok(Self {
            gate: Some(gate),
            ..Self::new(layout, up, rows, output, threads)?
        })
    }
}

impl Tasks for Int8Product<'_> {
    fn tasks(&self) -> usize {
        self.shares.count()
    }

    /// Some rows of some columns.
    fn run(&self, task: usize) {
        let panels = self.layout.panels();
        let Some([tiles, panels]) = self.shares.take(task, self.rows.tiles.count, panels) else {
            return;
        };
        self.layout.arch.dispatch(Block {
            product: self,
            tiles,
            panels,
        });
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use pulp::Arch;

    use super::super::{Kind, LARGEST};
    use super::*;
    use crate::testing::Memory;

    /// Numbers from -1 to 1, none of which lies between two steps.
    fn numbers(count: usize, step: usize) -> Vec<f32> {
        let numbers = (0..count).map(|i| (i * step % 255) as f32 / LARGEST - 1.0);
        numbers.collect()
    }

    fn run_all(work: &impl Tasks) {
        // In any order, and a second time, which does nothing; beyond the last there is none.
        let all = (0..=work.tasks()).rev();
        all.clone().chain(all).for_each(|task| work.run(task));
    }

    /// What every way to multiply must give, to the last bit.
    fn expected(weight: &[f32], x: &[f32], inputs: usize) -> Vec<f32> {
        let quantized = |row: &[f32]| {
            let most = row.iter().fold(0.0_f32, |most, x| most.max(x.abs()));
            let integers = row
                .iter()
                .map(|x| (x * (LARGEST / most)).round_ties_even() as i32);
            (integers.collect::<Vec<_>>(), most / LARGEST)
        };
        let weights: Vec<_> = weight.chunks_exact(inputs).map(quantized).collect();
        let rows = x.chunks_exact(inputs).map(quantized);
        let sums = rows.flat_map(|(row, scale)| {
            let sum = |(weights, by): &(Vec<i32>, f32)| {
                let products = weights.iter().zip(&row).map(|(a, b)| a * b);
                products.sum::<i32>() as f32 * by * scale
            };
            weights.iter().map(sum).collect::<Vec<_>>()
        });
        sums.collect()
    }

    fn run(layout: &Layout, weights: &[u8], x: &[f32], threads: usize) -> Vec<f32> {
        let rows = x.len() / layout.inputs;
        let mut quantized = QuantizedRows::new(layout, rows);
        let tasks = quantized.quantize(x).unwrap();
        run_all(&tasks);
        drop(tasks);
        let mut output = vec![f32::NAN; rows * layout.outputs];
        let product = Int8Product::new(layout, weights, &quantized, &mut output, threads).unwrap();
        run_all(&product);
        output
    }

    #[test]
    fn every_way_to_multiply_gives_the_same_bits_whatever_rows_stand_beside() {
        for [outputs, inputs] in [[1, 4], [150, 700], [64, 256], [33, 1029], [5, 3]] {
            let (weight, x) = (numbers(outputs * inputs, 89), numbers(150 * inputs, 101));
            let expected = expected(&weight, &x, inputs);
            for kind in Kind::all() {
                let layout = Layout {
                    kind,
                    width: kind.width(),
                    ..Layout::new([outputs, inputs], Element::Int8).unwrap()
                };
                let memory = Memory::with(&layout, &weight);
                let weights = memory.get();
                assert!(run(&layout, weights, &x, 3) == expected, "{kind:?}");
                for rows in [1, 2, 5, 7, 13, 24, 49] {
                    let some = run(&layout, weights, &x[..rows * inputs], 2);
                    assert!(some == expected[..rows * outputs], "{kind:?}, {rows} rows");
                }
                let scalar = Layout {
                    arch: Arch::Scalar,
                    ..layout
                };
                assert!(run(&scalar, weights, &x, 1) == expected, "{kind:?}");
            }
        }
    }

    #[test]
    fn a_gate_lets_through_what_silu_of_its_products_says() {
        let [outputs, inputs] = [45, 132];
        let layout = Layout::new([outputs, inputs], Element::Int8).unwrap();
        let both = [89, 97].map(|step| numbers(outputs * inputs, step));
        let [gate, up] = both.each_ref().map(|weight| Memory::with(&layout, weight));
        let x = numbers(20 * inputs, 101);
        let mut rows = QuantizedRows::new(&layout, 20);
        run_all(&rows.quantize(&x).unwrap());
        let mut output = vec![f32::NAN; 20 * outputs];
        let weights = [gate.get(), up.get()];
        run_all(&Int8Product::gated(&layout, weights, &rows, &mut output, 2).unwrap());
        let [gates, ups] = both.map(|weight| expected(&weight, &x, inputs));
        for ((found, gate), up) in output.iter().zip(gates).zip(ups) {
            let gate = f64::from(gate);
            let expected = gate / (1.0 + (-gate).exp()) * f64::from(up);
            let error = (f64::from(*found) - expected).abs();
            assert!(
                error <= 1e-6 * expected.abs(),
                "{found}, expected {expected}"
            );
        }
    }

    #[test]
    fn a_row_that_is_not_finite_gives_no_number_and_one_of_zeros_gives_zeros() {
        let layout = Layout::new([3, 8], Element::Int8).unwrap();
        let memory = Memory::with(&layout, &numbers(24, 89));
        let weights = memory.get();
        let ones = run(&layout, weights, &[1.0; 8], 1);
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut x = [1.0; 24];
            x[3] = bad;
            x[8..16].fill(0.0);
            let y = run(&layout, weights, &x, 1);
            assert!(y[..3].iter().all(|y| y.is_nan()), "{bad}: {y:?}");
            assert_eq!(y[3..6], [0.0; 3]);
            assert_eq!(y[6..], ones);
        }
        // Smaller than what 127 can be divided by.
        let tiny = run(&layout, weights, &[1e-40; 8], 1);
        assert!(tiny.iter().all(|y| y.abs() < 1e-38));
    }

    #[test]
    fn what_does_not_fit_together_is_told() {
        let layout = Layout::new([3, 8], Element::Int8).unwrap();
        let memory = Memory::with(&layout, &[1.0; 24]);
        let weights: &[u8] = memory.get();
        let mut rows = QuantizedRows::new(&layout, 2);
        let error = rows.quantize(&[0.0; 8]).err().unwrap();
        assert_eq!(error, "expected 2 rows of 8, found 8 elements");
        let error = |layout: &Layout, weights, output: &mut [f32]| {
            let product = Int8Product::new(layout, weights, &rows, output, 1);
            product.err().unwrap()
        };
        let message = error(&layout, weights, &mut [0.0; 5]);
        assert_eq!(
            message,
            "expected rows of 8 to 2 rows of 3, found 8 to 5 elements"
        );
        let (expected, found) = (weights.len(), weights.len() - 64);
        let message = error(&layout, &weights[64..], &mut [0.0; 6]);
        let told =
            format!("expected {expected} bytes of weights at a multiple of 64, found {found}");
        assert_eq!(message, told);
        let floats = Layout::new([3, 8], Element::F32).unwrap();
        let message = error(&floats, weights, &mut [0.0; 6]);
        assert_eq!(message, "expected weights of [Int8], found F32");
        assert!(Layout::new([3, 66_500], Element::Int8).is_none());
    }
}
