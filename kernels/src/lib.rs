//! Linear layers and attention on a processor. Rows are of f32; a linear layer's weight lies in memory
//! in the order in which it is read, in bf16, which is widened in registers and exact, in f32, or in
//! int8, for which rows are quantised as they come.
//!
//! An element of an output is the same sum in the same order whatever rows stand beside its own, and
//! however many threads there are.

mod ahead;
mod attention;
mod exp;
mod filling;
mod held;
mod int8;
mod kernel;
mod layout;
mod norm;
mod output;
mod product;
mod tasks;
#[cfg(test)]
mod testing;
mod tile;

pub use attention::{Arrays, Asking, Attention, Heads};
pub use int8::{Int8Product, QuantizedRows};
pub use layout::{ALIGNMENT, Element, Layout, order};
pub use norm::NormedSum;
pub use product::Product;
pub use tasks::Tasks;
