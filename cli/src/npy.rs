//! NumPy's file format 1.0: a little-endian float32 matrix in C order.
//!
//! <https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html>

use std::io::{self, Write};

/// Magic, version and the header's length.
const PREAMBLE: usize = 10;
/// The data begins at a multiple of this.
const ALIGNMENT: usize = 64;

/// Writes `data`, row-major `[rows, columns]`.
pub(crate) fn write(
    out: &mut dyn Write,
    data: &[f32],
    [rows, columns]: [usize; 2],
) -> io::Result<()> {
    let fields =
        format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, {columns}), }}");
    let unpadded = PREAMBLE + fields.len() + 1;
    let padding = unpadded.next_multiple_of(ALIGNMENT) - unpadded;
    // Two 20-digit numbers fit: the header is at most 118 bytes.
    let length = (fields.len() + padding + 1) as u16;
    out.write_all(b"\x93NUMPY\x01\x00")?;
    out.write_all(&length.to_le_bytes())?;
    writeln!(out, "{fields}{:padding$}", "")?;
    data.iter()
        .try_for_each(|value| out.write_all(&value.to_le_bytes()))
}
