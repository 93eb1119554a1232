//! Work in parts that threads may take in any order.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

/// Tasks for each thread: with more of them the last ones end at about the same time, with fewer each
/// reads more weights that follow one another.
pub(super) const TASKS: usize = 4;

/// Elements that are worth a task, where little is done with each.
pub(super) const ELEMENTS: usize = 32 << 10;

/// Work in tasks that threads may run in any order.
pub trait Tasks: Sync {
    /// How many, all of which must be run, each once.
    fn tasks(&self) -> usize;

    /// Runs one of them. Nothing, if it was run or there is none of that number.
    fn run(&self, task: usize);
}

/// The tasks of a product: each is one of the groups of rows by one of the groups of panels.
pub(super) struct Shares {
    blocks: usize,
    parts: usize,
    /// Which of them somebody runs or has run.
    taken: Vec<AtomicBool>,
}

impl Shares {
    /// Of so many groups of rows, and of so many panels at most, for so many threads.
    pub(super) fn new(blocks: usize, most_parts: usize, threads: usize) -> Self {
        let parts = (TASKS * threads).div_ceil(blocks.max(1)).min(most_parts);
        let taken = (0..blocks * parts).map(|_| AtomicBool::new(false));
        Self {
            blocks,
            parts,
            taken: taken.collect(),
        }
    }

    pub(super) fn count(&self) -> usize {
        self.taken.len()
    }

    /// The task's share of so many rows and of so many panels, for whoever asks first.
    pub(super) fn take(
        &self,
        task: usize,
        rows: usize,
        panels: usize,
    ) -> Option<[Range<usize>; 2]> {
        let taken = self.taken.get(task)?.swap(true, Ordering::Relaxed);
        let (block, part) = (task / self.parts, task % self.parts);
        (!taken).then(|| {
            [
                share(rows, block, self.blocks),
                share(panels, part, self.parts),
            ]
        })
    }
}

/// One of so many nearly equal shares.
fn share(all: usize, one: usize, of: usize) -> Range<usize> {
    one * all / of..(one + 1) * all / of
}
