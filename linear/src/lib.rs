//! The product of a linear layer on a processor: rows of f32 by a weight that lies in memory in the
//! order in which it is read, in bf16 or in f32. Weights of bf16 are widened in registers, which is
//! exact.
//!
//! An element of the output is the same sum in the same order whatever rows stand beside its own, and
//! however many threads there are.

mod ahead;
mod filling;
mod held;
mod int8;
mod kernel;
mod layout;
mod output;
mod product;
mod tasks;
#[cfg(test)]
mod testing;
mod tile;

pub use int8::{Int8Product, QuantizedRows};
pub use layout::{ALIGNMENT, Element, Layout, order};
pub use product::Product;
pub use tasks::Tasks;
