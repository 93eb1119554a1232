//! Causal attention that stores the scores of a few tokens at a time.

use kernels::{Attention, Heads};
use ort::operator::{
    ComputeContext, Kernel, KernelContext, Operator, OperatorInput, OperatorOutput,
    ShapeInferenceContext,
};
use ort::value::TensorElementType;
use ort::{Error, Result};

use super::{is_known, missing, run};

/// Queries `(B, L, H * D)`, keys and values `(B, S, KV * D)` to `(B, L, H * D)`, scaled by
/// `1 / sqrt(D)`: the last L of the S tokens of each sequence ask.
pub(in crate::backend::onnx) const CAUSAL: &str = "CausalAttention";

/// Its attributes: H and KV.
pub(in crate::backend::onnx) const HEADS: &str = "num_heads";
pub(in crate::backend::onnx) const KEY_VALUE_HEADS: &str = "kv_num_heads";

pub(super) struct Causal {
    pub(super) threads: usize,
}

impl Operator for Causal {
    type Kernel<'attr> = CausalKernel;

    fn name(&self) -> &str {
        CAUSAL
    }

    fn inputs(&self) -> impl IntoIterator<Item = OperatorInput> {
        [(); 3].map(|()| OperatorInput::required(TensorElementType::Float32))
    }

    fn outputs(&self) -> impl IntoIterator<Item = OperatorOutput> {
        [OperatorOutput::required(TensorElementType::Float32)]
    }

    fn create_kernel<'attr>(&self, context: &KernelContext<'attr>) -> Result<CausalKernel> {
        let heads = |name| -> Result<usize> {
            let heads: i64 = context.get(name).ok_or_else(missing)?;
            usize::try_from(heads).map_err(|_| missing())
        };
        Ok(CausalKernel {
            heads: heads(HEADS)?,
            key_value_heads: heads(KEY_VALUE_HEADS)?,
            threads: self.threads,
        })
    }

    fn infer_shape(&self, context: &mut ShapeInferenceContext) -> Result<()> {
        match context.inputs().first() {
            Some(queries) if is_known(queries) => context.set_output(0, queries),
            _ => Ok(()),
        }
    }
}

pub(super) struct CausalKernel {
    heads: usize,
    key_value_heads: usize,
    threads: usize,
}

impl Kernel for CausalKernel {
    fn compute(&mut self, context: &ComputeContext) -> Result<()> {
        let inputs = [
            context.input(0)?.ok_or_else(missing)?,
            context.input(1)?.ok_or_else(missing)?,
            context.input(2)?.ok_or_else(missing)?,
        ];
        let [(shape, queries), (keys_shape, keys), (_, values)] = [
            inputs[0].try_extract_tensor::<f32>()?,
            inputs[1].try_extract_tensor::<f32>()?,
            inputs[2].try_extract_tensor::<f32>()?,
        ];
        let ([sequences, tokens, columns], [_, all, _]) = (axes(shape)?, axes(keys_shape)?);
        let mut output = context.output(0, shape.to_vec())?.ok_or_else(missing)?;
        let (_, output) = output.try_extract_tensor_mut::<f32>()?;
        let heads = Heads {
            sequences,
            tokens,
            keys: all,
            heads: self.heads,
            key_value_heads: self.key_value_heads,
            size: columns / self.heads.max(1),
        };
        let attention = Attention::new(heads, [queries, keys, values], output, self.threads);
        run(context, &[attention.map_err(Error::new)?])
    }
}

/// The sizes of three axes.
fn axes(shape: &[i64]) -> Result<[usize; 3]> {
    let axes: [i64; 3] = shape.try_into().map_err(|_| missing())?;
    Ok(axes.map(|axis| usize::try_from(axis).unwrap_or_default()))
}
