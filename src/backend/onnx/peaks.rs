//! What ONNX Runtime reaches at best: large products of matrices by the model's own operators.

use std::sync::Arc;

use kernels::{Element, Layout};
use ort::value::{Tensor, TensorElementType};

use super::failed;
use super::library::Library;
use super::ops::{Axis, Built, Ops, Stored, outlet};
use super::panels::{self, Panels};
use super::providers::Provider;
use super::session::Session;
use super::threads::Threads;
use crate::backend::{Peaks, peaks};
use crate::dtype::Dtype;
use crate::error::Result;

/// Rows and columns: larger than what is cached, small enough for many runs in the time.
const SIZE: usize = 1024;

/// Measures products in f32 and, where `precision` is that, in int8, and the memory.
pub(super) fn measure(
    library: &'static Library,
    provider: &Provider,
    threads: &Threads,
    precision: Dtype,
) -> Result<Peaks> {
    let flops = |built: ort::Result<Built>| {
        let built = built.map_err(|error| failed("peaks", error))?;
        // A profile of the model is not to hold these.
        let mut provider = provider.clone();
        provider.profile = None;
        let mut session = Session::new(library, built, &provider, threads)?;
        peaks::rate(2.0 * (SIZE as f64).powi(3), || {
            session.run(vec![], SIZE).map(drop)
        })
    };
    let int8 = precision == Dtype::Int8;
    Ok(Peaks {
        flops: Some(flops(product(ones(Element::F32)?))?),
        int8_flops: int8
            .then(|| flops(product(ones(Element::Int8)?)))
            .transpose()?,
        bytes: Some(peaks::memory_rate(threads.count)),
    })
}

/// A matrix of ones.
fn ones(element: Element) -> Result<Panels> {
    let layout = Layout::new([SIZE; 2], element);
    let layout = layout.ok_or_else(|| failed("peaks", "no layout of that shape"))?;
    Panels::filled(layout, |memory| {
        panels::put(&layout, &vec![1.0; SIZE * SIZE], memory);
    })
}

/// Rows in int8 are quantised as they come, which is a small part of the work.
fn product(weight: Panels) -> ort::Result<Built> {
    let mut ops = Ops::new()?;
    let x = rows(&mut ops, "x")?;
    let [y] = ops.linears([&Arc::new(weight)], &x)?;
    finish(ops, &y)
}

fn rows(ops: &mut Ops, name: &str) -> ort::Result<String> {
    let rows = Tensor::from_array(([SIZE, SIZE], vec![1.0_f32; SIZE * SIZE]))?;
    ops.weight(name, Stored::Input(Arc::new(rows.into())))
}

fn finish(ops: Ops, y: &str) -> ort::Result<Built> {
    let output = outlet(y, TensorElementType::Float32, &[Axis::Of(SIZE as i64); 2]);
    ops.finish(vec![], vec![output])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::execution_provider::ExecutionProvider;
    use crate::backend::onnx::{Options, library};

    #[test]
    fn products_in_both_precisions_are_measured() {
        let library = library::load(None).unwrap();
        let options = Options::default();
        let provider = Provider::new(ExecutionProvider::Cpu, Dtype::Int8, &options);
        let threads = Threads::of(&options).unwrap();
        let peaks = measure(library, &provider, &threads, Dtype::Int8).unwrap();
        assert!(peaks.flops.is_some_and(|rate| rate > 0.0));
        assert!(peaks.int8_flops.is_some_and(|rate| rate > 0.0));
    }
}
