//! Rows that the device was asked for and that were not read yet.

use super::array::Array;
use super::ffi::bridge::ElementType;
use crate::backend::HiddenRows;
use crate::error::Result;

pub(super) struct Begun {
    rows: Array, // (B, hidden), f32, row-major
}

impl Begun {
    /// Hands the device all that the rows `(B, hidden)` depend on, and does not wait for them.
    pub(super) fn new(rows: &Array) -> Result<Self> {
        let rows = rows.astype(ElementType::F32)?.contiguous()?;
        rows.begin()?;
        Ok(Self { rows })
    }

    /// Waits until they are computed; what was begun later is not waited for.
    pub(super) fn wait(&self) -> Result<()> {
        let _span = tracing::debug_span!("wait").entered();
        self.rows.eval()
    }

    /// Waits for them and reads them.
    pub(super) fn read(self) -> Result<HiddenRows> {
        self.wait()?;
        let bytes = self.rows.read()?;
        let elements = bytes.as_chunks().0.iter();
        Ok(HiddenRows {
            data: elements.map(|&bytes| f32::from_ne_bytes(bytes)).collect(),
            hidden: self.rows.shape()[1],
        })
    }
}
