//! ONNX operators over the model editor: each method adds one node and gives its output's name.

use std::fmt::Debug;

use ort::Result;
use ort::editor::{Graph, Model, Node, ONNX_DOMAIN, Opset};
use ort::memory::Allocator;
use ort::operator::Attribute;
use ort::value::{
    Outlet, PrimitiveTensorElementType, Shape, SymbolicDimensions, Tensor, TensorElementType,
    ValueType,
};

/// `Attention`, `RotaryEmbedding` and `RMSNormalization` came with this version.
const OPSET: u32 = 23;

/// ONNX Runtime's own operators.
const CONTRIB: &str = "com.microsoft";

/// Smaller initializers must be copied into the graph, where shape inference reads them.
const SMALLEST_SHARED: usize = 128;

/// f32 and f16 in ONNX's own table of types.
const FLOAT: i64 = 1;
const FLOAT16: i64 = 10;

/// The name of an input, a weight or a node's output.
pub(super) type Value = String;

/// A graph being written. Shapes in comments: B sequences, L tokens.
pub(super) struct Ops {
    graph: Graph,
    nodes: usize,
}

impl Ops {
    pub(super) fn new() -> Result<Self> {
        Ok(Self {
            graph: Graph::new()?,
            nodes: 0,
        })
    }

    /// The finished model.
    pub(super) fn finish(mut self, inputs: Vec<Outlet>, outputs: Vec<Outlet>) -> Result<Model> {
        self.graph.set_inputs(inputs)?;
        self.graph.set_outputs(outputs)?;
        let opsets = [Opset::new(ONNX_DOMAIN, OPSET)?, Opset::new(CONTRIB, 1)?];
        let mut model = Model::new(opsets)?;
        model.set_graph(self.graph)?;
        Ok(model)
    }

    /// A weight, shared with the session and not copied.
    pub(super) fn weight<T: PrimitiveTensorElementType + Debug>(
        &mut self,
        name: &str,
        tensor: Tensor<T>,
    ) -> Result<Value> {
        let shared = tensor.shape().num_elements() * size_of::<T>() >= SMALLEST_SHARED;
        self.graph.add_initializer(name, tensor, shared)?;
        Ok(name.to_owned())
    }

    /// `weight @ x.T`: a linear layer `(out, in)` of rows `(T, in)`, its output standing in columns
    /// `(out, T)`.
    ///
    /// A constant on the right would be copied into ONNX Runtime's own layout, beside the original
    /// until all are, and is slower for the few tokens of a query.
    pub(super) fn linear(&mut self, weight: &str, x: &str) -> Result<Value> {
        let attributes = vec![Attribute::new("transB", 1i64)?];
        self.node_in(CONTRIB, "FusedMatMul", &[weight, x], attributes)
    }

    /// `weight @ x`: as [`linear`](Self::linear), of columns `(in, T)`.
    pub(super) fn linear_of_columns(&mut self, weight: &str, x: &str) -> Result<Value> {
        self.node("MatMul", &[weight, x], vec![])
    }

    /// A linear layer in f16 of rows `(T, in)` and back, `(T, in)` to `(T, out)`. Not
    /// `FusedMatMul`, for which the processor has no f16 kernel.
    pub(super) fn half_linear(&mut self, weight: &str, x: &str) -> Result<Value> {
        let x = self.cast(x, FLOAT16)?;
        let columns = self.rows(&x)?;
        let columns = self.linear_of_columns(weight, &columns)?;
        let rows = self.rows(&columns)?;
        self.widened(&rows)
    }

    /// To f32.
    pub(super) fn widened(&mut self, x: &str) -> Result<Value> {
        self.cast(x, FLOAT)
    }

    fn cast(&mut self, x: &str, to: i64) -> Result<Value> {
        self.node("Cast", &[x], vec![Attribute::new("to", to)?])
    }

    /// Columns `(out, T)` to rows `(T, out)`.
    pub(super) fn rows(&mut self, x: &str) -> Result<Value> {
        self.node(
            "Transpose",
            &[x],
            vec![Attribute::new("perm", vec![1i64, 0])?],
        )
    }

    pub(super) fn add(&mut self, a: &str, b: &str) -> Result<Value> {
        self.node("Add", &[a, b], vec![])
    }

    pub(super) fn mul(&mut self, a: &str, b: &str) -> Result<Value> {
        self.node("Mul", &[a, b], vec![])
    }

    /// `x * sigmoid(x)`; the session's optimiser makes one node of the two.
    pub(super) fn silu(&mut self, x: &str) -> Result<Value> {
        let sigmoid = self.node("Sigmoid", &[x], vec![])?;
        self.mul(x, &sigmoid)
    }

    /// RMS norm over the last axis.
    pub(super) fn rms_norm(&mut self, x: &str, weight: &str, eps: f32) -> Result<Value> {
        let attributes = vec![
            Attribute::new("axis", -1i64)?,
            Attribute::new("epsilon", eps)?,
        ];
        self.node("RMSNormalization", &[x, weight], attributes)
    }

    /// 0 in `shape` keeps an axis, -1 takes the rest.
    pub(super) fn reshape(&mut self, x: &str, shape: &[i64]) -> Result<Value> {
        let shape = self.constant(shape)?;
        self.reshape_to(x, &shape)
    }

    /// To the shape that `shape` holds.
    pub(super) fn reshape_to(&mut self, x: &str, shape: &str) -> Result<Value> {
        self.node("Reshape", &[x, shape], vec![])
    }

    /// The shape of `x` and then `axis`, for [`reshape_to`](Self::reshape_to).
    pub(super) fn shape_and(&mut self, x: &str, axis: i64) -> Result<Value> {
        let (shape, axis) = (self.node("Shape", &[x], vec![])?, self.constant(&[axis])?);
        self.node(
            "Concat",
            &[&shape, &axis],
            vec![Attribute::new("axis", 0i64)?],
        )
    }

    /// Axes of length 1 at these places of the result.
    pub(super) fn unsqueeze(&mut self, x: &str, axes: &[i64]) -> Result<Value> {
        let axes = self.constant(axes)?;
        self.node("Unsqueeze", &[x, &axes], vec![])
    }

    /// Rows of `x` by index: `indices.shape + x.shape[1..]`.
    pub(super) fn gather(&mut self, x: &str, indices: &str) -> Result<Value> {
        self.node("Gather", &[x, indices], vec![])
    }

    /// Where `a <= b`, as booleans.
    pub(super) fn less_or_equal(&mut self, a: &str, b: &str) -> Result<Value> {
        self.node("LessOrEqual", &[a, b], vec![])
    }

    /// Half-split rotary embedding of `(B, L, heads * D)` by the rows `positions` of the tables.
    pub(super) fn rope(
        &mut self,
        x: &str,
        [cos, sin]: [&str; 2],
        positions: &str,
        heads: i64,
    ) -> Result<Value> {
        let attributes = vec![Attribute::new("num_heads", heads)?];
        self.node("RotaryEmbedding", &[x, cos, sin, positions], attributes)
    }

    /// Grouped-query attention of `(B, L, heads * D)`, scaled by `1 / sqrt(D)`.
    pub(super) fn attention(
        &mut self,
        [queries, keys, values]: [&str; 3],
        [heads, kv_heads]: [i64; 2],
        mask: Mask<'_>,
    ) -> Result<Value> {
        let mut attributes = vec![
            Attribute::new("q_num_heads", heads)?,
            Attribute::new("kv_num_heads", kv_heads)?,
        ];
        match mask {
            Mask::Causal => {
                attributes.push(Attribute::new("is_causal", 1i64)?);
                self.node("Attention", &[queries, keys, values], attributes)
            }
            Mask::Allowed(allowed) => {
                self.node("Attention", &[queries, keys, values, allowed], attributes)
            }
        }
    }

    fn constant(&mut self, values: &[i64]) -> Result<Value> {
        let mut tensor = Tensor::<i64>::new(&Allocator::default(), [values.len()])?;
        tensor.extract_tensor_mut().1.copy_from_slice(values);
        let name = self.fresh("constant");
        self.graph.add_initializer(&name, tensor, false)?;
        Ok(name)
    }

    fn node(&mut self, op: &str, inputs: &[&str], attributes: Vec<Attribute>) -> Result<Value> {
        self.node_in(ONNX_DOMAIN, op, inputs, attributes)
    }

    fn node_in(
        &mut self,
        domain: &str,
        op: &str,
        inputs: &[&str],
        attributes: Vec<Attribute>,
    ) -> Result<Value> {
        let output = self.fresh(op);
        let outputs = [output.as_str()];
        let node = Node::new(op, domain, &output, inputs, outputs, attributes)?;
        self.graph.add_node(node)?;
        Ok(output)
    }

    fn fresh(&mut self, kind: &str) -> Value {
        self.nodes += 1;
        format!("{kind}_{}", self.nodes)
    }
}

/// What a query may attend to.
#[derive(Debug, Clone, Copy)]
pub(super) enum Mask<'a> {
    /// Keys up to its own place.
    Causal,
    /// Keys where this boolean array, which broadcasts to `(B, heads, queries, keys)`, is true.
    Allowed(&'a str),
}

/// An input or output of the graph; -1 is an axis that differs from run to run.
pub(super) fn outlet(name: &str, element: TensorElementType, shape: &[i64]) -> Outlet {
    let axes = shape.len();
    let tensor = ValueType::Tensor {
        ty: element,
        shape: Shape::new(shape.iter().copied()),
        dimension_symbols: SymbolicDimensions::empty(axes),
    };
    Outlet::new(name, tensor)
}
