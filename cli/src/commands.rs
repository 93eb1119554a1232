//! What the commands do.

mod embed;
mod info;
#[cfg(feature = "mlx")]
mod quantize;
mod running;
mod similarity;
pub(crate) mod table;

pub(crate) use embed::embed;
pub(crate) use info::info;
#[cfg(feature = "mlx")]
pub(crate) use quantize::quantize;
#[cfg(feature = "bench")]
pub(crate) use running::Running;
pub(crate) use similarity::similarity;

use std::io::{self, Write};

use serde::Serialize;

/// One JSON value and a newline. Numbers parse back to the same f32.
pub(crate) fn write_json(out: &mut dyn Write, value: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *out, value)?;
    writeln!(out)
}
