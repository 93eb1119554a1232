//! Our own operators of ONNX Runtime's graphs, on the processor.

mod attention;
mod linear;
mod norm;

use std::sync::Arc;

use kernels::Tasks;
use ort::operator::{ComputeContext, OperatorDomain};
use ort::value::ValueType;
use ort::{Error, Result};

use super::panels::Panels;

pub(super) use attention::{CAUSAL, HEADS, KEY_VALUE_HEADS};
pub(super) use linear::{GATED, WEIGHTS, product};
pub(super) use norm::ADDED;

/// Their domain.
pub(super) const DOMAIN: &str = "qwen3";

/// The attribute that says what a norm adds to the mean of squares.
pub(super) const EPSILON: &str = "epsilon";

/// Weights of one kind that one node multiplies the same rows by.
pub(super) type Group = Vec<Arc<Panels>>;

/// The operators of a session which has these weights and so many threads.
pub(super) fn domain(groups: Vec<Group>, threads: usize) -> Result<OperatorDomain> {
    let domain = OperatorDomain::new(DOMAIN)?;
    let domain = linear::add(domain, groups, threads)?;
    domain
        .add(attention::Causal { threads })?
        .add(norm::Added { threads })
}

/// Runs all tasks of some work by the session's threads.
fn run(context: &ComputeContext, work: &[impl Tasks]) -> Result<()> {
    let tasks = work.iter().map(Tasks::tasks).sum();
    context.par_for(tasks, 0, |mut task| {
        for work in work {
            match work.tasks() {
                tasks if task >= tasks => task -= tasks,
                _ => return work.run(task),
            }
        }
    })
}

/// Whether an array's axes are each of a known size or named, as those of an output must be. One of no
/// axes is of unknown ones.
fn is_known(array: &ValueType) -> bool {
    let ValueType::Tensor {
        shape,
        dimension_symbols,
        ..
    } = array
    else {
        return false;
    };
    let mut axes = shape.iter().zip(dimension_symbols.iter());
    !shape.is_empty() && axes.all(|(size, name)| *size > 0 || !name.is_empty())
}

fn missing() -> Error {
    Error::new("an input, an output or an attribute is missing")
}
