//! What tests need.

use crate::layout::{ALIGNMENT, Layout};

/// Memory of zeros that begins where weights may.
pub(crate) struct Memory {
    bytes: Vec<u8>,
    begin: usize,
    len: usize,
}

impl Memory {
    pub(crate) fn of(layout: &Layout) -> Self {
        let len = layout.len();
        let bytes = vec![0; len + ALIGNMENT];
        Self {
            begin: bytes.as_ptr().align_offset(ALIGNMENT),
            bytes,
            len,
        }
    }

    /// A matrix.
    pub(crate) fn with(layout: &Layout, weight: &[f32]) -> Self {
        let mut memory = Self::of(layout);
        let rows = weight.chunks(layout.rows_of_chunk() * layout.inputs);
        let chunks = memory.get_mut().chunks_mut(layout.bytes_of_chunk());
        rows.zip(chunks)
            .for_each(|(rows, chunk)| layout.put(rows, chunk));
        memory
    }

    pub(crate) fn get(&self) -> &[u8] {
        &self.bytes[self.begin..][..self.len]
    }

    fn get_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.begin..][..self.len]
    }
}
