//! A residual sum and the RMS norm of it.

use kernels::NormedSum;
use ort::operator::{
    ComputeContext, Kernel, KernelContext, Operator, OperatorInput, OperatorOutput,
    ShapeInferenceContext,
};
use ort::value::TensorElementType::Float32;
use ort::{Error, Result};

use super::{EPSILON, is_known, missing, run};

/// Two arrays `(T, hidden)` and a weight `(hidden)` to the normed sum, over the last axis, and the sum.
pub(in crate::backend::onnx) const ADDED: &str = "AddRMSNormalization";

pub(super) struct Added {
    pub(super) threads: usize,
}

impl Operator for Added {
    type Kernel<'attr> = AddedKernel;

    fn name(&self) -> &str {
        ADDED
    }

    fn inputs(&self) -> impl IntoIterator<Item = OperatorInput> {
        [(); 3].map(|()| OperatorInput::required(Float32))
    }

    fn outputs(&self) -> impl IntoIterator<Item = OperatorOutput> {
        [(); 2].map(|()| OperatorOutput::required(Float32))
    }

    fn create_kernel<'attr>(&self, context: &KernelContext<'attr>) -> Result<AddedKernel> {
        Ok(AddedKernel {
            eps: context.get(EPSILON).ok_or_else(missing)?,
            threads: self.threads,
        })
    }

    fn infer_shape(&self, context: &mut ShapeInferenceContext) -> Result<()> {
        let inputs = context.inputs();
        for output in 0..2 {
            match inputs.first() {
                Some(term) if is_known(term) => context.set_output(output, term)?,
                _ => {}
            }
        }
        Ok(())
    }
}

pub(super) struct AddedKernel {
    eps: f32,
    threads: usize,
}

impl Kernel for AddedKernel {
    fn compute(&mut self, context: &ComputeContext) -> Result<()> {
        let inputs = [
            context.input(0)?.ok_or_else(missing)?,
            context.input(1)?.ok_or_else(missing)?,
            context.input(2)?.ok_or_else(missing)?,
        ];
        let [(shape, first), (_, second), (_, weight)] = [
            inputs[0].try_extract_tensor()?,
            inputs[1].try_extract_tensor()?,
            inputs[2].try_extract_tensor()?,
        ];
        let mut normed = context.output(0, shape.to_vec())?.ok_or_else(missing)?;
        let mut sum = context.output(1, shape.to_vec())?.ok_or_else(missing)?;
        let [(_, normed), (_, sum)] = [
            normed.try_extract_tensor_mut()?,
            sum.try_extract_tensor_mut()?,
        ];
        let (terms, to) = ([first, second], [normed, sum]);
        let work = NormedSum::new(terms, weight, self.eps, to, self.threads);
        run(context, &[work.map_err(Error::new)?])
    }
}
