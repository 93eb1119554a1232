//! The order in which a matrix lies in memory: that in which the product reads it.

use pulp::Arch;

use super::{kernel, tile};

/// Panels that one task multiplies by before it goes on to the next ones.
pub(super) const CHUNK: usize = 4;

/// Inputs whose products are summed at a time: a panel of so many stays in the first cache.
pub(super) const DEPTH: usize = 256;

/// What a weight is kept in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Element {
    /// 32 bits.
    F32,
    /// The upper 16 of these.
    Bf16,
}

impl Element {
    fn size(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::Bf16 => 2,
        }
    }
}

/// A matrix `(out, in)` in panels of so many outputs, of which the weights of one input stand side by
/// side. Of each four panels the first 256 inputs of each panel come first, then the next
/// of each. Outputs that the last panel lacks are zeros.
///
/// In bf16 two weights of an output share a word: that of an input of the first half of such a depth
/// in its lower half, and that of the input as far into the second half in its upper half.
#[derive(Debug, Clone, Copy)]
pub struct Layout {
    pub(super) arch: Arch,
    pub(super) outputs: usize,
    pub(super) inputs: usize,
    /// Outputs of a panel.
    pub(super) width: usize,
    /// Whether it is in bf16, not f32.
    pub(super) halves: bool,
}

impl Layout {
    /// Of a matrix `(out, in)`. `None` where its inputs, as no model's, are not a multiple of 4.
    pub fn new([outputs, inputs]: [usize; 2], element: Element) -> Option<Self> {
        let arch = Arch::new();
        inputs.is_multiple_of(tile::MULTIPLE).then(|| Self {
            arch,
            outputs,
            inputs,
            width: kernel::width(arch),
            halves: element == Element::Bf16,
        })
    }

    /// The type of its elements.
    pub fn element(&self) -> Element {
        match self.halves {
            true => Element::Bf16,
            false => Element::F32,
        }
    }

    /// Rows of the matrix.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Columns of the matrix.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Bytes that it takes.
    #[allow(clippy::len_without_is_empty, reason = "bytes of a matrix")]
    pub fn len(&self) -> usize {
        self.panels() * self.width * self.inputs * self.element().size()
    }

    pub(super) fn panels(&self) -> usize {
        self.outputs.div_ceil(self.width)
    }

    pub(super) fn chunks(&self) -> usize {
        self.panels().div_ceil(CHUNK)
    }

    /// Where the inputs from each [`DEPTH`] on begin, and how many they are.
    pub(super) fn depths(&self) -> impl Iterator<Item = (usize, usize)> {
        let inputs = self.inputs;
        let begins = (0..inputs).step_by(DEPTH);
        begins.map(move |begin| (begin, DEPTH.min(inputs - begin)))
    }
}
