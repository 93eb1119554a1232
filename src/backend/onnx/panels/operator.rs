//! The product as an operator of ONNX Runtime's graphs.

use std::sync::Arc;

use linear::{Element, Int8Product, Product, QuantizedRows};
use ort::operator::{
    ComputeContext, Kernel, KernelContext, Operator, OperatorDomain, OperatorInput, OperatorOutput,
    ShapeInferenceContext,
};
use ort::value::{TensorElementType, ValueType};
use ort::{Error, Result};

use super::Panels;

/// The domain of our own operators.
pub(in crate::backend::onnx) const DOMAIN: &str = "qwen3";

/// Rows `(T, in)` to rows `(T, out)` in f32, by a weight in bf16, in f32 or in int8: a profile tells
/// them apart.
pub(super) const BY_BF16: &str = "MatMulBf16";
pub(super) const BY_F32: &str = "MatMulF32";
pub(super) const BY_INT8: &str = "MatMulInt8";

/// The attribute that says which of a session's weights it is by.
pub(in crate::backend::onnx) const WEIGHT: &str = "weight";

/// The operators of a session which has these weights and so many threads.
pub(in crate::backend::onnx) fn domain(
    weights: Vec<Arc<Panels>>,
    threads: usize,
) -> Result<OperatorDomain> {
    let weights: Arc<[_]> = weights.into();
    let linear = |name| Linear {
        name,
        weights: Arc::clone(&weights),
        threads,
    };
    OperatorDomain::new(DOMAIN)?
        .add(linear(BY_BF16))?
        .add(linear(BY_F32))?
        .add(linear(BY_INT8))
}

struct Linear {
    name: &'static str,
    weights: Arc<[Arc<Panels>]>,
    threads: usize,
}

impl Linear {
    fn weight(&self, index: i64) -> Result<&Arc<Panels>> {
        let weight = usize::try_from(index)
            .ok()
            .and_then(|i| self.weights.get(i));
        weight.ok_or_else(|| Error::new(format!("no weight {index}")))
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
        [OperatorOutput::required(TensorElementType::Float32)]
    }

    fn create_kernel<'attr>(&self, context: &KernelContext<'attr>) -> Result<LinearKernel> {
        let index = context.get(WEIGHT).ok_or_else(|| Error::new("no weight"))?;
        Ok(LinearKernel {
            weight: Arc::clone(self.weight(index)?),
            threads: self.threads,
        })
    }

    /// ONNX Runtime plans its memory by the names of axes.
    fn infer_shape(&self, context: &mut ShapeInferenceContext) -> Result<()> {
        let weight = self.weight(context.attr(WEIGHT)?)?;
        let mut inputs = context.inputs();
        if let Some(ValueType::Tensor {
            shape,
            dimension_symbols,
            ..
        }) = inputs.first_mut()
            && shape
                .iter()
                .zip(dimension_symbols.iter())
                .all(|(n, name)| *n > 0 || !name.is_empty())
            && let Some(columns) = shape.last_mut()
        {
            *columns = weight.layout.outputs() as i64;
            context.set_output(0, &inputs[0])?;
        }
        Ok(())
    }
}

struct LinearKernel {
    weight: Arc<Panels>,
    threads: usize,
}

impl Kernel for LinearKernel {
    fn compute(&mut self, context: &ComputeContext) -> Result<()> {
        let missing = || Error::new("expected an input and an output");
        let x = context.input(0)?.ok_or_else(missing)?;
        let (shape, x) = x.try_extract_tensor::<f32>()?;
        let mut shape = shape.to_vec();
        if let Some(columns) = shape.last_mut() {
            *columns = self.weight.layout.outputs() as i64;
        }
        let mut output = context.output(0, shape)?.ok_or_else(missing)?;
        let (_, output) = output.try_extract_tensor_mut::<f32>()?;
        let (layout, weights) = (self.weight.layout(), self.weight.bytes());
        match layout.element() {
            Element::F32 | Element::Bf16 => {
                let product = Product::new(layout, weights, x, output, self.threads);
                let product = product.map_err(Error::new)?;
                context.par_for(product.tasks(), 0, |task| product.run(task))
            }
            Element::Int8 => {
                let mut rows = QuantizedRows::new(layout, x.len() / layout.inputs().max(1));
                let quantization = rows.quantize(x).map_err(Error::new)?;
                context.par_for(quantization.tasks(), 0, |task| quantization.run(task))?;
                drop(quantization);
                let product = Int8Product::new(layout, weights, &rows, output, self.threads);
                let product = product.map_err(Error::new)?;
                context.par_for(product.tasks(), 0, |task| product.run(task))
            }
        }
    }
}
