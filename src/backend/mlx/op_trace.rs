//! Each operation evaluated and timed by itself, for whoever listens.

use std::time::Instant;

use cxx::UniquePtr;

use super::array::failed;
use super::ffi::bridge::{self, MxArray};
use crate::error::Result;

/// Evaluates the result of the operation `op` and tells what that took, if there is a listener at
/// level trace: an event with the shapes of its inputs and of itself.
pub(super) fn trace(op: &str, array: &UniquePtr<MxArray>) -> Result<()> {
    if !tracing::enabled!(target: "qwen3_embedding::op", tracing::Level::TRACE) || op == "allocate"
    {
        return Ok(());
    }
    // An array that is evaluated has forgotten its inputs.
    let inputs = bridge::input_shapes(array).map_err(|error| failed(op, error))?;
    let output = bridge::shape(array).map_err(|error| failed(op, error))?;
    let element_type = bridge::element_type(array).map_err(|error| failed(op, error))?;
    let begun = Instant::now();
    bridge::eval(array).map_err(|error| failed(op, error))?;
    let ns = u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
    tracing::trace!(target: "qwen3_embedding::op", op, ?inputs, ?output, ?element_type, ns, "op");
    Ok(())
}
