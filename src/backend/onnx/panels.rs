//! The weights of linear layers on the processor, which operators of our own multiply by. ONNX Runtime multiplies f32 by f32: of a
//! checkpoint in bf16 it must be given twice the bytes, and a second copy of them if it is to read them
//! in the order that suits it, as it makes of int8 at each load. Here weights lie in such an order from
//! the first, in the type that the checkpoint has them in or in int8.

mod filling;

use std::sync::Arc;

use kernels::{Element, Layout};
use memmap2::Mmap;

use super::{failed, pages};
use crate::error::Result;

pub(super) use filling::{fill, layout, put};

/// A linear layer's weight `(out, in)`, laid out for the product.
pub(super) struct Panels {
    layout: Layout,
    block: Arc<Mmap>,
    begin: usize,
}

impl Panels {
    /// The matrix whose bytes begin at `begin` in the block.
    ///
    /// # Errors
    /// The block does not hold it there.
    pub(super) fn new(layout: Layout, block: &Arc<Mmap>, begin: usize) -> Result<Self> {
        let panels = Self {
            layout,
            block: Arc::clone(block),
            begin,
        };
        match panels.bytes().len() == layout.len() {
            true => Ok(panels),
            false => Err(failed("weights", "no matrix begins there")),
        }
    }

    /// A matrix by itself, which `fill` writes to memory of zeros.
    pub(super) fn filled(layout: Layout, fill: impl FnOnce(&mut [u8])) -> Result<Self> {
        let block = pages::block(layout.len());
        let mut block = block.map_err(|error| failed("allocate", error))?;
        fill(&mut block);
        let block = block.make_read_only();
        let block = block.map_err(|error| failed("allocate", error))?;
        Self::new(layout, &Arc::new(block), 0)
    }

    pub(super) fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Whether its products can gate those of the other at once.
    pub(super) fn gates(&self, other: &Self) -> bool {
        let shape = |layout: &Layout| (layout.element(), layout.outputs(), layout.inputs());
        self.layout.element() == Element::Int8 && shape(&self.layout) == shape(&other.layout)
    }

    /// What it is in memory.
    pub(super) fn bytes(&self) -> &[u8] {
        let end = self.begin.saturating_add(self.layout.len());
        self.block.get(self.begin..end).unwrap_or_default()
    }
}
