//! The order in which a matrix lies in memory: that in which the product reads it.

use pulp::Arch;

use super::int8::{self, Kind};
use super::{kernel, tile};

/// Panels that one task multiplies by before it goes on to the next ones.
pub(super) const CHUNK: usize = 4;

/// Inputs whose products are summed at a time: a panel of so many stays in the first cache.
pub(super) const DEPTH: usize = 256;

/// What the place of a matrix in memory is a multiple of.
pub const ALIGNMENT: usize = 64;

/// What differs between the layouts of this processor and those of others.
pub fn order() -> String {
    format!("{:?}, {}", Kind::best(), kernel::width(Arch::new()))
}

/// What a weight is kept in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Element {
    /// 32 bits.
    F32,
    /// The upper 16 of these.
    Bf16,
    /// Integers, and a scale for each output.
    Int8,
}

impl Element {
    pub(super) fn size(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::Bf16 => 2,
            Self::Int8 => 1,
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
    pub(super) element: Element,
    /// What multiplies, if it is in int8.
    pub(super) kind: Kind,
}

impl Layout {
    /// Of a matrix `(out, in)`. `None` where its inputs, as no model's, are not a multiple of 4, or, in
    /// int8, so many that a sum could be too large.
    pub fn new([outputs, inputs]: [usize; 2], element: Element) -> Option<Self> {
        let (arch, kind) = (Arch::new(), Kind::best());
        let (width, fits) = match element {
            Element::Int8 => (kind.width(), inputs <= int8::MOST_INPUTS),
            Element::F32 | Element::Bf16 => {
                (kernel::width(arch), inputs.is_multiple_of(tile::MULTIPLE))
            }
        };
        fits.then_some(Self {
            arch,
            outputs,
            inputs,
            width,
            element,
            kind,
        })
    }

    /// The type of its elements.
    pub fn element(&self) -> Element {
        self.element
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
        match self.element {
            Element::Int8 => self.panels() * self.panel_of_int8(),
            element => self.panels() * self.width * self.inputs * element.size(),
        }
    }

    /// Whether these are a matrix that is laid out so, in one of these types.
    pub(super) fn check(&self, weights: &[u8], elements: &[Element]) -> Result<(), String> {
        if !elements.contains(&self.element) {
            let found = self.element;
            return Err(format!("expected weights of {elements:?}, found {found:?}"));
        }
        let aligned = weights.as_ptr().addr().is_multiple_of(ALIGNMENT);
        match weights.len() == self.len() && aligned {
            true => Ok(()),
            false => Err(format!(
                "expected {} bytes of weights at a multiple of {ALIGNMENT}, found {}",
                self.len(),
                weights.len()
            )),
        }
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
