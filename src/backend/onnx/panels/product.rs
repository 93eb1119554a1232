//! A product in tasks that threads may run in any order.

use std::array;
use std::cell::RefCell;
use std::ops::Range;
use std::slice;

use super::Panels;
use super::kernel::Block;

/// Floats of rows that a task multiplies by the same weights: they stay in the second cache, if the
/// rows are not long.
const BLOCK: usize = 128 << 10;
/// Rows that are worth reading weights for anew, and as many as are.
const LEAST_ROWS: usize = 48;
const MOST_ROWS: usize = 256;

/// Tasks for each thread: with more of them the last ones end at about the same time, with fewer each
/// reads more weights that follow one another.
const TASKS: usize = 4;

/// Where sums go: rows of so many columns, which tasks write different parts of.
pub(super) struct Output {
    begin: *mut f32,
    rows: usize,
    columns: usize,
}

#[allow(unsafe_code, reason = "threads write parts of one array")]
// SAFETY: each task writes elements that no other one touches, see `Product::run`.
unsafe impl Sync for Output {}

impl Output {
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

/// `x @ weight.T` into `output`.
pub(super) struct Product<'a> {
    panels: &'a Panels,
    x: &'a [f32],
    output: Output,
    /// How many groups of rows, and of chunks, there are: a task has one of each.
    blocks: usize,
    parts: usize,
}

impl<'a> Product<'a> {
    /// Of rows `(T, in)` to `(T, out)`, for so many threads.
    ///
    /// # Errors
    /// What does not fit together.
    pub(super) fn new(
        panels: &'a Panels,
        x: &'a [f32],
        output: &'a mut [f32],
        threads: usize,
    ) -> Result<Self, String> {
        let (inputs, outputs) = (panels.layout.inputs, panels.layout.outputs);
        let rows = x.len() / inputs.max(1);
        if x.len() != rows * inputs || output.len() != rows * outputs {
            let (found, given) = (x.len(), output.len());
            return Err(format!(
                "expected rows of {inputs} to rows of {outputs}, found {found} elements to {given}"
            ));
        }
        let most = (BLOCK / inputs.max(1)).clamp(LEAST_ROWS, MOST_ROWS);
        let blocks = rows.div_ceil(most);
        let parts = (TASKS * threads).div_ceil(blocks.max(1));
        Ok(Self {
            panels,
            x,
            output: Output {
                begin: output.as_mut_ptr(),
                rows,
                columns: outputs,
            },
            blocks,
            parts: parts.min(panels.layout.chunks()),
        })
    }

    /// Tasks, all of which must be run, each once.
    pub(super) fn tasks(&self) -> usize {
        self.blocks * self.parts
    }

    /// Runs one task: some rows of some columns.
    pub(super) fn run(&self, task: usize) {
        let layout = &self.panels.layout;
        let (block, part) = (task / self.parts, task % self.parts);
        let rows = share(self.output.rows, block, self.blocks);
        let chunks = share(layout.chunks(), part, self.parts);
        with_room(rows.len() * layout.width, |sums| {
            layout.arch.dispatch(Block {
                panels: self.panels,
                x: self.x,
                output: &self.output,
                rows,
                chunks,
                sums,
            });
        });
    }
}

/// One of so many nearly equal shares.
fn share(all: usize, one: usize, of: usize) -> Range<usize> {
    one * all / of..(one + 1) * all / of
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
