//! Causal attention that stores the scores of a few tokens at a time.

use kernels::{Arrays, Asking, Attention, Heads};
use ort::operator::{
    ComputeContext, Kernel, KernelContext, Operator, OperatorInput, OperatorOutput,
    ShapeInferenceContext,
};
use ort::value::TensorElementType::{self, Float32, Int64};
use ort::value::{PrimitiveTensorElementType, ValueRef};
use ort::{Error, Result};

use super::{EPSILON, is_known, missing, run};

/// Queries `(T, H * D)`, keys and values `(T, KV * D)` to rows as the queries, scaled by `1 / sqrt(D)`.
/// Queries and keys are normed head by head and turned first. See [`Input`] for what it reads.
pub(in crate::backend::onnx) const CAUSAL: &str = "CausalAttention";

/// Its attributes beside [`EPSILON`]: H and KV.
pub(in crate::backend::onnx) const HEADS: &str = "num_heads";
pub(in crate::backend::onnx) const KEY_VALUE_HEADS: &str = "kv_num_heads";

/// The inputs, in order.
#[derive(Clone, Copy)]
enum Input {
    /// Of the tokens that ask `(T, H * D)` or `(B, H * D)`.
    Queries,
    /// `(T, KV * D)`.
    Keys,
    Values,
    /// Weights of the norms `(D)`.
    QueryNorm,
    KeyNorm,
    /// `(positions, D / 2)`.
    Cosines,
    Sines,
    /// `(B, L)`: positions follow one another, behind the past.
    Positions,
    /// Where among the T the only token of each sequence stands that asks `(B)`; without it all ask.
    Last,
    /// `(1, P, KV * D)`.
    PastKeys,
    PastValues,
    /// Of how many tokens of the first sequence keys and values are given out `(1)`.
    Kept,
}

/// Their types, up to [`Input::Positions`] and from then on.
const REQUIRED: [TensorElementType; 8] = [
    Float32, Float32, Float32, Float32, Float32, Float32, Float32, Int64,
];
const OPTIONAL: [TensorElementType; 4] = [Int64, Float32, Float32, Int64];

pub(super) struct Causal {
    pub(super) threads: usize,
}

impl Operator for Causal {
    type Kernel<'attr> = CausalKernel;

    fn name(&self) -> &str {
        CAUSAL
    }

    fn inputs(&self) -> impl IntoIterator<Item = OperatorInput> {
        let required = REQUIRED.map(OperatorInput::required);
        required
            .into_iter()
            .chain(OPTIONAL.map(OperatorInput::optional))
    }

    /// Beside attention's the keys and values that are given out `(1, kept, KV * D)`.
    fn outputs(&self) -> impl IntoIterator<Item = OperatorOutput> {
        [
            OperatorOutput::required(Float32),
            OperatorOutput::optional(Float32),
            OperatorOutput::optional(Float32),
        ]
    }

    fn create_kernel<'attr>(&self, context: &KernelContext<'attr>) -> Result<CausalKernel> {
        let heads = |name| -> Result<usize> {
            let heads: i64 = context.get(name).ok_or_else(missing)?;
            usize::try_from(heads).map_err(|_| missing())
        };
        Ok(CausalKernel {
            heads: heads(HEADS)?,
            key_value_heads: heads(KEY_VALUE_HEADS)?,
            eps: context.get(EPSILON).ok_or_else(missing)?,
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
    eps: f32,
    threads: usize,
}

impl Kernel for CausalKernel {
    fn compute(&mut self, context: &ComputeContext) -> Result<()> {
        let given = Given::of(context)?;
        let heads = self.heads(&given)?;
        let asking = match given.has(Input::Last) {
            true => Asking::One(given.array(Input::Last)?.1),
            false => Asking::All,
        };
        let shape = given.array::<f32>(Input::Queries)?.0.to_vec();
        let mut output = context.output(0, shape)?.ok_or_else(missing)?;
        let (_, output) = output.try_extract_tensor_mut::<f32>()?;
        let arrays = given.arrays()?;
        let attention = Attention::new(heads, asking, arrays, self.eps, output, self.threads);
        let attention = attention.map_err(Error::new)?;
        if given.has(Input::Kept) {
            let [kept] = axes(given.array(Input::Kept)?.1)?;
            keep(
                context,
                &attention,
                [kept, self.key_value_heads * heads.size],
            )?;
        }
        run(context, &[attention])
    }
}

impl CausalKernel {
    fn heads(&self, given: &Given<'_>) -> Result<Heads> {
        let [sequences, tokens] = axes(given.array::<i64>(Input::Positions)?.0)?;
        let [_, columns] = axes(given.array::<f32>(Input::Queries)?.0)?;
        let past = match given.has(Input::PastKeys) {
            true => axes(given.array::<f32>(Input::PastKeys)?.0)?,
            false => [0; 3],
        };
        Ok(Heads {
            sequences,
            tokens,
            past: past[1],
            heads: self.heads,
            key_value_heads: self.key_value_heads,
            size: columns / self.heads.max(1),
        })
    }
}

/// Gives out keys and values `(1, tokens, columns)`.
fn keep(
    context: &ComputeContext,
    attention: &Attention<'_>,
    [tokens, columns]: [usize; 2],
) -> Result<()> {
    let shape = [1, tokens as i64, columns as i64];
    let mut keys = context.output(1, shape)?.ok_or_else(missing)?;
    let mut values = context.output(2, shape)?.ok_or_else(missing)?;
    let [(_, keys), (_, values)] = [
        keys.try_extract_tensor_mut()?,
        values.try_extract_tensor_mut()?,
    ];
    match tokens {
        0 => Ok(()),
        _ => attention.keep([keys, values]).map_err(Error::new),
    }
}

/// The inputs of a run.
struct Given<'a>(Vec<Option<ValueRef<'a>>>);

impl<'a> Given<'a> {
    fn of(context: &'a ComputeContext) -> Result<Self> {
        let inputs = (0..REQUIRED.len() + OPTIONAL.len()).map(|input| context.input(input));
        Ok(Self(inputs.collect::<Result<_>>()?))
    }

    fn has(&self, input: Input) -> bool {
        self.0[input as usize].is_some()
    }

    fn arrays(&self) -> Result<Arrays<'_>> {
        let array = |input| self.array(input).map(|(_, array)| array);
        let past = match self.has(Input::PastKeys) {
            true => [array(Input::PastKeys)?, array(Input::PastValues)?],
            false => Default::default(),
        };
        Ok(Arrays {
            queries: array(Input::Queries)?,
            keys: array(Input::Keys)?,
            values: array(Input::Values)?,
            past,
            norms: [array(Input::QueryNorm)?, array(Input::KeyNorm)?],
            angles: [array(Input::Cosines)?, array(Input::Sines)?],
        })
    }

    fn array<T: PrimitiveTensorElementType>(&self, input: Input) -> Result<(&[i64], &[T])> {
        let value = self.0[input as usize].as_ref().ok_or_else(missing)?;
        let (shape, array) = value.try_extract_tensor()?;
        Ok((shape, array))
    }
}

/// So many sizes.
fn axes<const AXES: usize>(sizes: &[i64]) -> Result<[usize; AXES]> {
    let axes: [i64; AXES] = sizes.try_into().map_err(|_| missing())?;
    Ok(axes.map(|axis| usize::try_from(axis).unwrap_or_default()))
}
