//! A tensor in a shard: what it is, and its bytes, one window at a time.

use std::{io, mem};

use super::header::Entry;
use super::shard::Shard;
use crate::dtype::Dtype;
use crate::error::{Error, Result};

/// Bytes mapped at a time: a multiple of every element size, and many times a page.
const WINDOW: usize = 8 << 20;

/// Bytes of one sample.
const SAMPLE: usize = 4096;

/// One weight of a [`Checkpoint`](super::Checkpoint).
#[derive(Debug, Clone, Copy)]
pub struct Tensor<'a> {
    pub(super) shard: &'a Shard,
    pub(super) entry: &'a Entry,
}

impl<'a> Tensor<'a> {
    /// The key as written in the file, with or without `model.`.
    pub fn name(&self) -> &'a str {
        &self.entry.name
    }

    /// Element type.
    pub fn dtype(&self) -> Dtype {
        self.entry.dtype
    }

    /// Rows and columns, or the length of a vector.
    pub fn shape(&self) -> &'a [usize] {
        &self.entry.shape
    }

    /// Length in bytes: elements times element size.
    pub fn byte_len(&self) -> usize {
        self.entry.len
    }

    /// Calls `each` with consecutive windows of the tensor's bytes, little-endian, row by row.
    ///
    /// A window holds whole elements. One is mapped at a time, so a load never holds more than
    /// 8 MiB of the file in memory.
    ///
    /// # Errors
    /// `Io` if the file cannot be mapped or its length has changed, and what `each` returns.
    pub fn for_each_window(&self, each: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        self.for_each_block(WINDOW, each)
    }

    /// As [`for_each_window`](Self::for_each_window), with windows of `size` bytes but for the last.
    pub(crate) fn for_each_block(
        &self,
        size: usize,
        mut each: impl FnMut(&[u8]) -> Result<()>,
    ) -> Result<()> {
        let mut done = 0;
        while done < self.entry.len {
            let len = size.min(self.entry.len - done);
            each(&self.shard.map(self.entry.begin + done as u64, len)?)?;
            done += len;
        }
        Ok(())
    }

    /// Gives `each` the first, middle and last bytes of the tensor, 4 KiB of each.
    pub(crate) fn sample(&self, each: &mut dyn FnMut(&[u8])) -> Result<()> {
        let len = SAMPLE.min(self.entry.len);
        let spare = self.entry.len - len;
        for begin in [0, spare / 2, spare] {
            each(&self.shard.map(self.entry.begin + begin as u64, len)?);
        }
        Ok(())
    }

    /// The whole tensor as f32.
    ///
    /// # Errors
    /// Those of [`for_each_window`](Self::for_each_window), and `Io` if memory does not suffice.
    pub fn to_f32(&self) -> Result<Vec<f32>> {
        let mut values = self.room_for(self.entry.len / self.dtype().size())?;
        self.fill(&mut values, |value| value)?;
        Ok(values)
    }

    /// Writes all elements to the beginning of `to`, each as `convert` makes it.
    pub(super) fn fill<T>(&self, to: &mut [T], convert: impl Fn(f32) -> T) -> Result<()> {
        let mut rest = to;
        self.for_each_window(|bytes| {
            let elements = (bytes.len() / self.dtype().size()).min(rest.len());
            let (part, after) = mem::take(&mut rest).split_at_mut(elements);
            self.dtype().fill(bytes, part, &convert);
            rest = after;
            Ok(())
        })
    }

    /// Zeros in place of `elements` of this tensor.
    pub(super) fn room_for(&self, elements: usize) -> Result<Vec<f32>> {
        let mut values = Vec::new();
        let reserved = values.try_reserve_exact(elements);
        reserved.map_err(|_| Error::Io {
            path: self.shard.path.clone(),
            source: io::ErrorKind::OutOfMemory.into(),
        })?;
        values.resize(elements, 0.0);
        Ok(values)
    }
}
