//! Weights in int8, in the order in which the product reads them.
//!
//! A panel begins with what the sum of each of its outputs begins with and the scale of each, 32 bits
//! both. Then come the weights: of as many inputs as are multiplied at a time those of each output,
//! then those of the next inputs.

use bytemuck::cast_slice_mut;

use super::{Held, LARGEST};
use crate::layout::Layout;

/// Bytes of a panel's beginning for each output.
const HEAD: usize = size_of::<i32>() + size_of::<f32>();

/// What the inputs that a panel has room for are a multiple of, whatever multiplies.
const MULTIPLE: usize = 4;

/// The parts of a panel.
pub(super) struct Panel<'a> {
    pub(super) begin: &'a [i32],
    pub(super) scales: &'a [f32],
    pub(super) weights: &'a [u8],
}

impl Layout {
    /// Words of a row of int8, the last of which may lack inputs.
    pub(super) fn words(&self) -> usize {
        self.inputs.next_multiple_of(MULTIPLE) / self.kind.inputs()
    }

    /// Bytes of a panel of int8.
    pub(crate) fn panel_of_int8(&self) -> usize {
        self.width * (HEAD + self.words() * self.kind.inputs())
    }

    /// The parts of a panel of int8.
    #[inline(always)]
    pub(super) fn panel<'a>(&self, weights: &'a [u8], panel: usize) -> Panel<'a> {
        let len = self.panel_of_int8();
        let (head, weights) = weights[panel * len..][..len].split_at(self.width * HEAD);
        let (begin, scales) = head.split_at(head.len() / 2);
        Panel {
            begin: bytemuck::cast_slice(begin),
            scales: bytemuck::cast_slice(scales),
            weights,
        }
    }

    /// Quantises the rows of a panel, each of which gets its scale, into its zeros.
    pub(crate) fn put_int8(&self, rows: &[f32], panel: &mut [u8]) {
        let (head, weights) = panel.split_at_mut(self.width * HEAD);
        let (begin, scales) = head.split_at_mut(self.width * size_of::<i32>());
        let places = cast_slice_mut::<_, i32>(begin)
            .iter_mut()
            .zip(cast_slice_mut(scales));
        let at_a_time = self.kind.inputs();
        let rows = rows.chunks(self.inputs);
        for (lane, (row, (begin, scale))) in rows.zip(places).enumerate() {
            let steps = weights.chunks_exact_mut(self.width * at_a_time);
            let mut sum = 0;
            *scale = step_of(row);
            for (step, values) in steps.zip(row.chunks(at_a_time)) {
                let places = &mut step[lane * at_a_time..][..at_a_time];
                for (place, value) in places.iter_mut().zip(values) {
                    // Rounding of the quotient can lead just beyond the largest one.
                    let value = (value / *scale).round_ties_even();
                    let value = value.clamp(-LARGEST, LARGEST) as i8;
                    sum += i32::from(value);
                    *place = value.cast_unsigned();
                }
            }
            if self.kind.held() == Held::Biased {
                *begin = -128 * sum;
            }
        }
    }
}

/// What one step is worth, which can be divided by, also of a row of zeros.
fn step_of(row: &[f32]) -> f32 {
    let largest = row
        .iter()
        .fold(0.0_f32, |most, value| most.max(value.abs()));
    (largest / LARGEST).max(f32::MIN_POSITIVE)
}
