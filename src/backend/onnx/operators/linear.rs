//! Products of linear layers.

use std::sync::Arc;

use kernels::{Element, Int8Product, Product, QuantizedRows};
use ort::operator::{
    ComputeContext, Kernel, KernelContext, Operator, OperatorDomain, OperatorInput, OperatorOutput,
    ShapeInferenceContext,
};
use ort::value::{TensorElementType, ValueType};
use ort::{Error, Result};

use super::{Group, is_known, missing, run};
use crate::backend::onnx::panels::Panels;

/// Rows `(T, in)` to rows `(T, out)` in f32 for each of some weights, in bf16, in f32 or in int8: a
/// profile tells them apart.
const BY_BF16: &str = "MatMulBf16";
const BY_F32: &str = "MatMulF32";
const BY_INT8: &str = "MatMulInt8";

/// Rows `(T, in)` to rows `(T, out)`, `silu(gate) * up` of the products by two weights in int8.
pub(in crate::backend::onnx) const GATED: &str = "MatMulSwiGluInt8";

/// The attribute that says which of a session's weights it is by.
pub(in crate::backend::onnx) const WEIGHTS: &str = "weights";

/// The operator that multiplies by weights of this type.
pub(in crate::backend::onnx) fn product(element: Element) -> &'static str {
    match element {
        Element::Bf16 => BY_BF16,
        Element::F32 => BY_F32,
        Element::Int8 => BY_INT8,
    }
}

/// The domain with these operators.
pub(super) fn add(
    domain: OperatorDomain,
    groups: Vec<Group>,
    threads: usize,
) -> Result<OperatorDomain> {
    let groups: Arc<[_]> = groups.into();
    let linear = |name| Linear {
        name,
        groups: Arc::clone(&groups),
        threads,
    };
    domain
        .add(linear(BY_BF16))?
        .add(linear(BY_F32))?
        .add(linear(BY_INT8))?
        .add(linear(GATED))
}

struct Linear {
    name: &'static str,
    groups: Arc<[Group]>,
    threads: usize,
}

impl Linear {
    fn group(&self, index: i64) -> Result<&Group> {
        let group = usize::try_from(index).ok().and_then(|i| self.groups.get(i));
        group.ok_or_else(|| Error::new(format!("no weights {index}")))
    }
}

/// The weights whose outputs a node gives: all, but of a gate and what it gates the one output.
fn of_outputs(group: &[Arc<Panels>], gated: bool) -> &[Arc<Panels>] {
    match gated {
        true => &group[..group.len().min(1)],
        false => group,
    }
}

impl Operator for Linear {
    type Kernel<'attr> = LinearKernel;

    fn name(&self) -> &str {
        self.name
    }

    fn inputs(&self) -> impl IntoIterator<Item = OperatorInput> {
        [OperatorInput::required(TensorElementType::Float32)]
    }

    fn outputs(&self) -> impl IntoIterator<Item = OperatorOutput> {
        [OperatorOutput::variadic(1).homogenous(TensorElementType::Float32)]
    }

    fn create_kernel<'attr>(&self, context: &KernelContext<'attr>) -> Result<LinearKernel> {
        let index = context
            .get(WEIGHTS)
            .ok_or_else(|| Error::new("no weights"))?;
        Ok(LinearKernel {
            weights: self.group(index)?.clone(),
            gated: self.name == GATED,
            threads: self.threads,
        })
    }

    /// ONNX Runtime plans its memory by the names of axes.
    fn infer_shape(&self, context: &mut ShapeInferenceContext) -> Result<()> {
        let group = self.group(context.attr(WEIGHTS)?)?;
        let mut inputs = context.inputs();
        for (output, weight) in of_outputs(group, self.name == GATED).iter().enumerate() {
            if !inputs.first().is_some_and(is_known) {
                return Ok(());
            }
            if let Some(ValueType::Tensor { shape, .. }) = inputs.first_mut()
                && let Some(columns) = shape.last_mut()
            {
                *columns = weight.layout().outputs() as i64;
                context.set_output(output, &inputs[0])?;
            }
        }
        Ok(())
    }
}

struct LinearKernel {
    weights: Group,
    gated: bool,
    threads: usize,
}

impl Kernel for LinearKernel {
    fn compute(&mut self, context: &ComputeContext) -> Result<()> {
        let x = context.input(0)?.ok_or_else(missing)?;
        let (shape, x) = x.try_extract_tensor::<f32>()?;
        let outputs = of_outputs(&self.weights, self.gated).iter().enumerate();
        let outputs = outputs.map(|(output, weight)| {
            let mut shape = shape.to_vec();
            if let Some(columns) = shape.last_mut() {
                *columns = weight.layout().outputs() as i64;
            }
            context.output(output, shape)?.ok_or_else(missing)
        });
        let mut outputs = outputs.collect::<Result<Vec<_>>>()?;
        let arrays = outputs.iter_mut();
        let arrays = arrays.map(|array| Ok(array.try_extract_tensor_mut::<f32>()?.1));
        self.multiply(context, x, arrays.collect::<Result<_>>()?)
    }
}

impl LinearKernel {
    fn multiply(&self, context: &ComputeContext, x: &[f32], to: Vec<&mut [f32]>) -> Result<()> {
        let first = self.weights.first().ok_or_else(missing)?;
        if first.layout().element() != Element::Int8 {
            let products = self.weights.iter().zip(to).map(|(weight, to)| {
                let product = Product::new(weight.layout(), weight.bytes(), x, to, self.threads);
                product.map_err(Error::new)
            });
            return run(context, &products.collect::<Result<Vec<_>>>()?);
        }
        let inputs = first.layout().inputs().max(1);
        let mut rows = QuantizedRows::new(first.layout(), x.len() / inputs);
        run(context, &[rows.quantize(x).map_err(Error::new)?])?;
        let products = match (&*self.weights, self.gated) {
            ([gate, up], true) => {
                let weights = [gate.bytes(), up.bytes()];
                let gated = |to| {
                    let layout = gate.layout();
                    let product = Int8Product::gated(layout, weights, &rows, to, self.threads);
                    product.map_err(Error::new)
                };
                to.into_iter().map(gated).collect::<Result<Vec<_>>>()
            }
            (weights, _) => {
                let products = weights.iter().zip(to).map(|(weight, to)| {
                    let (layout, weight) = (weight.layout(), weight.bytes());
                    let product = Int8Product::new(layout, weight, &rows, to, self.threads);
                    product.map_err(Error::new)
                });
                products.collect()
            }
        };
        run(context, &products?)
    }
}
