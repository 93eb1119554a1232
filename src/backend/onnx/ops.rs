//! ONNX operators over the model editor: each method adds one node and gives its output's name.

mod int8;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::sync::Arc;

use ort::Result;
use ort::editor::{Graph, Model, Node, ONNX_DOMAIN, Opset};
use ort::memory::Allocator;
use ort::operator::Attribute;
use ort::value::{
    DynTensor, DynValue, Outlet, PrimitiveTensorElementType, Shape, SymbolicDimensions, Tensor,
    TensorElementType, ValueType,
};

pub(super) use int8::{QuantizedRows, weights_are_bytes};

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

/// Where an array that a graph reads lies.
pub(super) enum Stored {
    /// With the caller, who gives it to each run.
    Input(Arc<DynValue>),
    /// With the session, which may move it to its device or repack it.
    Initializer(DynTensor),
}

/// A graph being written. Shapes in comments: B sequences, L tokens.
pub(super) struct Ops {
    graph: Graph,
    nodes: usize,
    scope: String,
    weights: BTreeMap<Value, Arc<DynValue>>,
    scalars: BTreeSet<&'static str>,
}

/// A finished model and what its sessions must be given in each run.
pub(super) struct Built {
    pub(super) model: Model,
    /// Inputs that are always the same.
    pub(super) weights: BTreeMap<Value, Arc<DynValue>>,
}

impl Ops {
    pub(super) fn new() -> Result<Self> {
        Ok(Self {
            graph: Graph::new()?,
            nodes: 0,
            scope: String::new(),
            weights: BTreeMap::new(),
            scalars: BTreeSet::new(),
        })
    }

    /// What the names of the nodes to come begin with, by which a profile tells layers apart.
    pub(super) fn set_scope(&mut self, scope: impl Into<String>) {
        self.scope = scope.into();
    }

    /// The finished model.
    pub(super) fn finish(mut self, inputs: Vec<Outlet>, outputs: Vec<Outlet>) -> Result<Built> {
        let weights = self.weights.iter();
        let weights = weights.map(|(name, array)| Outlet::new(name, array.dtype().clone()));
        self.graph.set_inputs(inputs.into_iter().chain(weights))?;
        self.graph.set_outputs(outputs)?;
        let opsets = [Opset::new(ONNX_DOMAIN, OPSET)?, Opset::new(CONTRIB, 1)?];
        let mut model = Model::new(opsets)?;
        model.set_graph(self.graph)?;
        Ok(Built {
            model,
            weights: self.weights,
        })
    }

    /// A weight. As an input any number of sessions can share it: ONNX Runtime shares initializers
    /// only in place of others of the same size, which it must be given first.
    pub(super) fn weight(&mut self, name: &str, weight: Stored) -> Result<Value> {
        match weight {
            Stored::Input(array) => {
                self.weights.insert(name.to_owned(), array);
            }
            Stored::Initializer(array) => {
                let shared = array.shape().num_elements() >= SMALLEST_SHARED;
                self.graph.add_initializer(name, array, shared)?;
            }
        }
        Ok(name.to_owned())
    }

    /// A linear layer `(out, in)` of rows `(T, in)`: `weight @ x.T`, whose output stands in columns
    /// `(out, T)`, or `x @ weight.T`, whose output stands in rows `(T, out)`.
    pub(super) fn linear(&mut self, weight: &str, x: &str, side: Side) -> Result<Value> {
        let attributes = vec![Attribute::new("transB", 1i64)?];
        let inputs = match side {
            Side::Left => [weight, x],
            Side::Right => [x, weight],
        };
        self.node_in(CONTRIB, "FusedMatMul", &inputs, 1, attributes)
    }

    /// `weight @ x`: as [`linear`](Self::linear), of columns `(in, T)` to columns.
    pub(super) fn linear_of_columns(&mut self, weight: &str, x: &str) -> Result<Value> {
        self.node("MatMul", &[weight, x], vec![])
    }

    /// A linear layer in f16 of rows `(T, in)` and back, `(T, in)` to `(T, out)`. Not
    /// `FusedMatMul`, for which the processor has no f16 kernel.
    pub(super) fn half_linear(&mut self, weight: &str, x: &str) -> Result<Value> {
        let x = self.cast(x, FLOAT16)?;
        let columns = self.transpose(&x, &[1, 0])?;
        let columns = self.linear_of_columns(weight, &columns)?;
        let rows = self.transpose(&columns, &[1, 0])?;
        self.widened(&rows)
    }

    /// To f32.
    pub(super) fn widened(&mut self, x: &str) -> Result<Value> {
        self.cast(x, FLOAT)
    }

    fn cast(&mut self, x: &str, to: i64) -> Result<Value> {
        self.node("Cast", &[x], vec![Attribute::new("to", to)?])
    }

    /// Its axes in another order.
    pub(super) fn transpose(&mut self, x: &str, axes: &[i64]) -> Result<Value> {
        let attributes = vec![Attribute::new("perm", axes.to_vec())?];
        self.node("Transpose", &[x], attributes)
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

    /// As [`add`](Self::add) and then [`rms_norm`](Self::rms_norm) by ONNX Runtime's own operator: the
    /// normed sum, and the sum.
    pub(super) fn add_and_rms_norm(
        &mut self,
        [a, b]: [&str; 2],
        weight: &str,
        eps: f32,
    ) -> Result<[Value; 2]> {
        let op = "SkipSimplifiedLayerNormalization";
        let [normed, sum] = [op, "Sum"].map(|kind| self.fresh(kind));
        // Two outputs that training reads are left out.
        let outputs = [&*normed, "", "", &*sum];
        let attributes = vec![Attribute::new("epsilon", eps)?];
        let node = Node::new(op, CONTRIB, &normed, [a, b, weight], outputs, attributes)?;
        self.graph.add_node(node)?;
        Ok([normed, sum])
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

    /// The first axes of `x` and then those of `then`, for [`reshape_to`](Self::reshape_to).
    pub(super) fn shape_and(&mut self, x: &str, axes: i64, then: &[i64]) -> Result<Value> {
        let first = vec![Attribute::new("end", axes)?];
        let (shape, then) = (self.node("Shape", &[x], first)?, self.constant(then)?);
        self.concat([&shape, &then], 0)
    }

    /// `a` and then `b` along an axis.
    pub(super) fn concat(&mut self, [a, b]: [&str; 2], axis: i64) -> Result<Value> {
        self.node("Concat", &[a, b], vec![Attribute::new("axis", axis)?])
    }

    /// The beginning of the first axes of `x`, to where `ends` says for each.
    pub(super) fn beginning(&mut self, x: &str, ends: &str, axes: usize) -> Result<Value> {
        let starts = self.constant(&vec![0; axes])?;
        self.node("Slice", &[x, &starts, ends], vec![])
    }

    /// Repeats `x` along its axes of length 1 to those that `shape` holds.
    pub(super) fn expand(&mut self, x: &str, shape: &str) -> Result<Value> {
        self.node("Expand", &[x, shape], vec![])
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

    /// The first of `x` along its first axis, which goes.
    pub(super) fn first(&mut self, x: &str) -> Result<Value> {
        let first = self.scalar("first", 0i64)?;
        self.gather(x, &first)
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

    /// Attention scaled by `1 / sqrt(D)`, to `(B, L, H * D)`, by the standard operator, which
    /// stores all scores: `(B, H, L, S)`. Without `allowed`, a boolean array that broadcasts to the
    /// scores, it is causal.
    pub(super) fn attention(
        &mut self,
        attending: &Attending<'_>,
        allowed: Option<&str>,
    ) -> Result<Value> {
        let [keys, values] = attending.keys_and_values;
        let mut attributes = attending.attributes("q_num_heads")?;
        let mut inputs = vec![attending.queries, keys, values];
        match allowed {
            Some(allowed) => inputs.push(allowed),
            None => attributes.push(Attribute::new("is_causal", 1i64)?),
        }
        self.node("Attention", &inputs, attributes)
    }

    /// As [`attention`](Self::attention), causal and without a past, by ONNX Runtime's own operator,
    /// which goes through the keys in blocks and stores no scores.
    pub(super) fn grouped(
        &mut self,
        attending: &Attending<'_>,
        [last_keys, total_keys]: [&str; 2],
    ) -> Result<Value> {
        let [keys, values] = attending.keys_and_values;
        let inputs = [
            attending.queries,
            keys,
            values,
            "",
            "",
            last_keys,
            total_keys,
        ];
        let attributes = attending.attributes("num_heads")?;
        self.node_in(CONTRIB, "GroupQueryAttention", &inputs, 3, attributes)
    }

    fn constant(&mut self, values: &[i64]) -> Result<Value> {
        let mut tensor = Tensor::<i64>::new(&Allocator::default(), [values.len()])?;
        tensor.extract_tensor_mut().1.copy_from_slice(values);
        let name = self.fresh("constant");
        self.graph.add_initializer(&name, tensor, false)?;
        Ok(name)
    }

    /// A number that is in the graph once.
    fn scalar<T: PrimitiveTensorElementType + Debug + Copy>(
        &mut self,
        name: &'static str,
        value: T,
    ) -> Result<Value> {
        if self.scalars.insert(name) {
            let mut tensor = Tensor::<T>::new(&Allocator::default(), Shape::empty(0))?;
            tensor.extract_tensor_mut().1.fill(value);
            self.graph.add_initializer(name, tensor, false)?;
        }
        Ok(name.to_owned())
    }

    fn node(&mut self, op: &str, inputs: &[&str], attributes: Vec<Attribute>) -> Result<Value> {
        self.node_in(ONNX_DOMAIN, op, inputs, 1, attributes)
    }

    fn node_in(
        &mut self,
        domain: &str,
        op: &str,
        inputs: &[&str],
        outputs: usize,
        attributes: Vec<Attribute>,
    ) -> Result<Value> {
        let output = self.fresh(op);
        let others = (1..outputs).map(|n| format!("{output}_{n}"));
        let outputs: Vec<String> = [output.clone()].into_iter().chain(others).collect();
        let node = Node::new(op, domain, &output, inputs, outputs, attributes)?;
        self.graph.add_node(node)?;
        Ok(output)
    }

    fn fresh(&mut self, kind: &str) -> Value {
        self.nodes += 1;
        format!("{}{kind}_{}", self.scope, self.nodes)
    }
}

/// The side of a product on which a weight stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Left,
    Right,
}

/// What attention reads: queries `(B, L, H * D)`, keys and values `(B, L, KV * D)`.
pub(super) struct Attending<'a> {
    pub(super) queries: &'a str,
    pub(super) keys_and_values: [&'a str; 2],
    /// H and KV.
    pub(super) heads: [i64; 2],
}

impl Attending<'_> {
    /// The numbers of heads; operators differ in what they call the queries'.
    fn attributes(&self, queries: &str) -> Result<Vec<Attribute>> {
        let [heads, kv_heads] = self.heads;
        Ok(vec![
            Attribute::new(queries, heads)?,
            Attribute::new("kv_num_heads", kv_heads)?,
        ])
    }
}

/// An axis of an input or output of the graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Axis {
    Of(i64),
    /// Differs from run to run; in one run all axes of this name are equally long. ONNX Runtime can
    /// tell then which arrays are, and plans a session in a quarter of the time.
    Named(&'static str),
}

/// An input or output of the graph.
pub(super) fn outlet(name: &str, element: TensorElementType, axes: &[Axis]) -> Outlet {
    let sizes = axes.iter().map(|axis| match *axis {
        Axis::Of(size) => size,
        Axis::Named(_) => -1,
    });
    let mut names = axes.iter().filter_map(|axis| match *axis {
        Axis::Of(_) => None,
        Axis::Named(name) => Some(name),
    });
    // ONNX Runtime 1.31 gives what stands for the first axis to all that differ.
    let name_of_all = match (names.next(), names.next()) {
        (Some(name), None) => name,
        _ => "",
    };
    let tensor = ValueType::Tensor {
        ty: element,
        shape: Shape::new(sizes),
        dimension_symbols: SymbolicDimensions::new(axes.iter().map(|_| name_of_all.to_owned())),
    };
    Outlet::new(name, tensor)
}
