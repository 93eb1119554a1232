//! The array that threads write parts of.

use std::array;
use std::slice;

/// Where sums go: rows of so many columns, which tasks write different parts of.
pub(super) struct Output {
    begin: *mut f32,
    pub(super) rows: usize,
    columns: usize,
}

#[allow(unsafe_code, reason = "threads write parts of one array")]
// SAFETY: each task writes elements that no other one touches, see `Product::run`.
unsafe impl Sync for Output {}

impl Output {
    /// Of an array that `columns` divides, and that nobody else has while this or a task is there.
    pub(super) fn new(array: &mut [f32], columns: usize) -> Self {
        Self {
            begin: array.as_mut_ptr(),
            rows: array.len() / columns.max(1),
            columns,
        }
    }

    /// So many columns of so many rows.
    #[inline(always)]
    #[allow(
        unsafe_code,
        clippy::mut_from_ref,
        reason = "threads write parts of one array"
    )]
    pub(super) fn at<const ROWS: usize>(
        &self,
        row: usize,
        column: usize,
        columns: usize,
    ) -> [&mut [f32]; ROWS] {
        assert!(row + ROWS <= self.rows && column + columns <= self.columns);
        array::from_fn(|i| {
            let begin = (row + i) * self.columns + column;
            // SAFETY: within the array, as just checked, which is borrowed for as long as `self` lives;
            // rows do not overlap, no other task has these elements, and this one asks anew only when
            // it is done with what it was given.
            unsafe { slice::from_raw_parts_mut(self.begin.add(begin), columns) }
        })
    }
}
