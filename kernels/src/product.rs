//! A product in tasks that threads may run in any order.

use std::cell::RefCell;

use super::kernel::Block;
use super::layout::{Element, Layout};
use super::output::Output;
use super::tasks::{Shares, Tasks};

/// Floats of rows that a task multiplies by the same weights: they stay in the second cache, if the
/// rows are not long.
const BLOCK: usize = 128 << 10;
/// Rows that are worth reading weights for anew, and as many as are.
const LEAST_ROWS: usize = 48;
const MOST_ROWS: usize = 66;

/// `x @ weight.T` into rows of an output, in tasks that threads may run in any order.
pub struct Product<'a> {
    layout: &'a Layout,
    weights: &'a [u8],
    x: &'a [f32],
    output: Output,
    shares: Shares,
}

impl<'a> Product<'a> {
    /// Of rows `(T, in)` to `(T, out)` by the weight that lies in `weights` as `layout` says, for so
    /// many threads.
    ///
    /// # Errors
    /// What does not fit together.
    pub fn new(
        layout: &'a Layout,
        weights: &'a [u8],
        x: &'a [f32],
        output: &'a mut [f32],
        threads: usize,
    ) -> Result<Self, String> {
        let (inputs, outputs) = (layout.inputs, layout.outputs);
        layout.check(weights, &[Element::F32, Element::Bf16])?;
        let rows = x.len() / inputs.max(1);
        if x.len() != rows * inputs || output.len() != rows * outputs {
            let (found, given) = (x.len(), output.len());
            return Err(format!(
                "expected rows of {inputs} to rows of {outputs}, found {found} elements to {given}"
            ));
        }
        let most = (BLOCK / inputs.max(1)).clamp(LEAST_ROWS, MOST_ROWS);
        let blocks = rows.div_ceil(most);
        Ok(Self {
            layout,
            weights,
            x,
            output: Output::new(output, outputs),
            shares: Shares::new(blocks, layout.chunks(), threads),
        })
    }
}

impl Tasks for Product<'_> {
    fn tasks(&self) -> usize {
        self.shares.count()
    }

    /// Some rows of some columns.
    fn run(&self, task: usize) {
        let layout = self.layout;
        let taken = self.shares.take(task, self.output.rows, layout.chunks());
        let Some([rows, chunks]) = taken else {
            return;
        };
        with_room(rows.len() * layout.width, |sums| {
            layout.arch.dispatch(Block {
                layout,
                weights: self.weights,
                x: self.x,
                output: &self.output,
                rows,
                chunks,
                sums,
            });
        });
    }
}

/// Gives `f` a thread's own room for so many floats.
fn with_room(floats: usize, f: impl FnOnce(&mut [f32])) {
    thread_local! {
        static ROOM: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
    }
    ROOM.with_borrow_mut(|room| {
        if room.len() < floats {
            room.resize(floats, 0.0);
        }
        f(&mut room[..floats]);
    });
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use pulp::Arch;

    use super::super::kernel;
    use super::*;
    use crate::testing::Memory;

    /// Numbers from -1 to 1 that bf16 holds.
    fn numbers(count: usize, step: usize) -> Vec<f32> {
        let numbers = (0..count).map(|i| (i * step % 257) as f32 / 128.0 - 1.0);
        numbers.collect()
    }

    fn run(layout: &Layout, weights: &Memory, x: &[f32], threads: usize) -> Vec<f32> {
        let rows = x.len() / layout.inputs;
        let mut output = vec![f32::NAN; rows * layout.outputs];
        let product = Product::new(layout, weights.get(), x, &mut output, threads).unwrap();
        // In any order, and a second time, which does nothing; beyond the last there is none.
        let tasks = (0..=product.tasks()).rev();
        tasks
            .clone()
            .chain(tasks)
            .for_each(|task| product.run(task));
        output
    }

    #[test]
    fn products_are_exact_to_rounding_and_do_not_depend_on_the_rows_beside_them() {
        for [outputs, inputs] in [[1, 4], [150, 700], [200, 256], [33, 1028]] {
            let (weight, x) = (numbers(outputs * inputs, 89), numbers(300 * inputs, 101));
            let sums = x.chunks_exact(inputs).flat_map(|x| {
                weight.chunks_exact(inputs).map(move |row| {
                    let products = row.iter().zip(x);
                    products
                        .map(|(a, b)| f64::from(*a) * f64::from(*b))
                        .sum::<f64>()
                })
            });
            let sums: Vec<f64> = sums.collect();
            for element in [Element::F32, Element::Bf16] {
                let best = Layout::new([outputs, inputs], element).unwrap();
                let arch = Arch::Scalar;
                let width = kernel::width(arch);
                for layout in [
                    best,
                    Layout {
                        arch,
                        width,
                        ..best
                    },
                ] {
                    let weights = Memory::with(&layout, &weight);
                    let all = run(&layout, &weights, &x, 3);
                    for (found, sum) in all.iter().zip(&sums) {
                        let error = (f64::from(*found) - sum).abs();
                        assert!(error <= 1e-6 * inputs as f64, "{found}, expected {sum}");
                    }
                    for rows in [1, 2, 3, 4, 5, 6, 7, 13, 24, 49] {
                        let some = run(&layout, &weights, &x[..rows * inputs], 2);
                        assert!(some == all[..rows * outputs], "{rows} rows of {inputs}");
                    }
                }
            }
        }
    }

    #[test]
    fn what_does_not_fit_together_is_told() {
        let layout = Layout::new([3, 8], Element::F32).unwrap();
        let memory = Memory::of(&layout);
        let weights = memory.get();
        let error = |weights, x: &[f32], output: &mut [f32]| {
            let product = Product::new(&layout, weights, x, output, 1);
            product.err().unwrap()
        };
        assert_eq!(
            error(weights, &[0.0; 9], &mut [0.0; 3]),
            "expected rows of 8 to rows of 3, found 9 elements to 3"
        );
        let message = error(&weights[64..], &[0.0; 8], &mut [0.0; 3]);
        let (expected, found) = (weights.len(), weights.len() - 64);
        assert_eq!(
            message,
            format!("expected {expected} bytes of weights at a multiple of 64, found {found}")
        );
        let integers = Layout::new([3, 8], Element::Int8).unwrap();
        let error = Product::new(&integers, weights, &[0.0; 8], &mut [0.0; 3], 1).err();
        assert_eq!(
            error.unwrap(),
            "expected weights of [F32, Bf16], found Int8"
        );
        assert!(Layout::new([3, 6], Element::Bf16).is_none());
    }
}
