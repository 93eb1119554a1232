//! ONNX operators over the model editor: each method adds one node and gives its output's name.

mod attention;
mod linear;
mod outlet;

use std::collections::BTreeMap;
use std::sync::Arc;

use ort::Result;
use ort::editor::{Graph, Model, Node, ONNX_DOMAIN, Opset};
use ort::memory::Allocator;
use ort::operator::Attribute;
use ort::value::{DynTensor, Outlet, Tensor};

use super::array::StoredArray;
use super::operators;

pub(super) use attention::{Attending, Causal};
pub(super) use outlet::{Axis, outlet};

/// `Attention`, `RotaryEmbedding` and `RMSNormalization` came with this version.
const OPSET: u32 = 23;

/// ONNX Runtime's own operators.
const CONTRIB: &str = "com.microsoft";

/// The operators that graphs are of; the last only where some are our own.
const DOMAINS: [(&str, u32); 3] = [(ONNX_DOMAIN, OPSET), (CONTRIB, 1), (operators::DOMAIN, 1)];

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
    Input(Arc<StoredArray>),
    /// With the session, which may move it to its device or repack it.
    Initializer(DynTensor),
}

/// A graph being written. Shapes in comments: B sequences, L tokens.
pub(super) struct Ops {
    graph: Graph,
    nodes: usize,
    scope: String,
    weights: BTreeMap<Value, Arc<StoredArray>>,
    groups: Vec<operators::Group>,
    own_operators: bool,
}

/// A finished model and what its sessions must be given in each run.
pub(super) struct Built {
    pub(super) model: Model,
    /// Inputs that are always the same.
    pub(super) weights: BTreeMap<Value, Arc<StoredArray>>,
    /// What its linear layers of our own multiply by.
    pub(super) groups: Vec<operators::Group>,
    /// Whether some of its operators are our own.
    pub(super) own_operators: bool,
    /// The names of what it gives.
    pub(super) outputs: Vec<Value>,
}

/// The file of a model of ONNX's version 10 that imports [`DOMAINS`] and has a graph of nothing, to add
/// a model to, as Protocol Buffers write it: fields by their numbers in `ModelProto`,
/// `OperatorSetIdProto` and `GraphProto`.
pub(super) fn nothing() -> Vec<u8> {
    /// A field of a few bytes.
    fn field(number: u8, content: &[u8]) -> Vec<u8> {
        [&[number << 3 | 2, content.len() as u8], content].concat()
    }
    let version = |number: u8, version: u32| [number << 3, version as u8];
    let import = |(domain, of): (&str, u32)| {
        let domain = field(1, domain.as_bytes());
        field(8, &[domain, version(2, of).to_vec()].concat())
    };
    let imports: Vec<u8> = DOMAINS.into_iter().flat_map(import).collect();
    let graph = field(7, &field(2, b"qwen3"));
    [&version(1, 10), &*imports, &graph].concat()
}

impl Ops {
    pub(super) fn new() -> Result<Self> {
        Ok(Self {
            graph: Graph::new()?,
            nodes: 0,
            scope: String::new(),
            weights: BTreeMap::new(),
            groups: Vec::new(),
            own_operators: false,
        })
    }

    /// What the names of the nodes to come begin with, by which a profile tells layers apart.
    pub(super) fn set_scope(&mut self, scope: impl Into<String>) {
        self.scope = scope.into();
    }

    /// The finished model.
    pub(super) fn finish(mut self, inputs: Vec<Outlet>, outputs: Vec<Outlet>) -> Result<Built> {
        let weights = self.weights.iter();
        let weights =
            weights.map(|(name, array)| Outlet::new(name, array.as_tensor().dtype().clone()));
        self.graph.set_inputs(inputs.into_iter().chain(weights))?;
        let names = outputs.iter().map(|output| output.name().to_owned());
        let names = names.collect();
        self.graph.set_outputs(outputs)?;
        let domains = DOMAINS
            .iter()
            .filter(|(domain, _)| self.own_operators || *domain != operators::DOMAIN);
        let opsets = domains.map(|(domain, version)| Opset::new(*domain, *version));
        let mut model = Model::new(opsets.collect::<Result<Vec<_>>>()?)?;
        model.set_graph(self.graph)?;
        Ok(Built {
            model,
            weights: self.weights,
            groups: self.groups,
            own_operators: self.own_operators,
            outputs: names,
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
            Attribute::new(operators::EPSILON, eps)?,
        ];
        self.node("RMSNormalization", &[x, weight], attributes)
    }

    /// As [`add`](Self::add) and then [`rms_norm`](Self::rms_norm) by our own operator: the normed sum,
    /// and the sum.
    pub(super) fn add_and_rms_norm(
        &mut self,
        [a, b]: [&str; 2],
        weight: &str,
        eps: f32,
    ) -> Result<[Value; 2]> {
        let outputs = [operators::ADDED, "Sum"].map(|kind| self.fresh(kind));
        let (inputs, names) = ([a, b, weight], outputs.each_ref().map(String::as_str));
        let attributes = vec![Attribute::new(operators::EPSILON, eps)?];
        self.push(
            operators::DOMAIN,
            operators::ADDED,
            &inputs,
            &names,
            attributes,
        )?;
        Ok(outputs)
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
        self.concat(&[&shape, &then], 0)
    }

    /// One after the other along an axis.
    pub(super) fn concat(&mut self, parts: &[&str], axis: i64) -> Result<Value> {
        self.node("Concat", parts, vec![Attribute::new("axis", axis)?])
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

    /// Rows of a table `(rows, columns)` of integers, each row with its scale.
    pub(super) fn gather_scaled(&mut self, [table, scales]: [&str; 2], ids: &str) -> Result<Value> {
        let rows = self.gather(table, ids)?;
        let rows = self.widened(&rows)?;
        let scales = self.gather(scales, ids)?;
        let scales = self.unsqueeze(&scales, &[1])?;
        self.mul(&rows, &scales)
    }

    /// Where `a <= b`, as booleans.
    pub(super) fn less_or_equal(&mut self, a: &str, b: &str) -> Result<Value> {
        self.node("LessOrEqual", &[a, b], vec![])
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
        self.push(domain, op, inputs, &[&output], attributes)?;
        Ok(output)
    }

    /// A node by the name of its first output.
    fn push(
        &mut self,
        domain: &str,
        op: &str,
        inputs: &[&str],
        outputs: &[&str],
        attributes: Vec<Attribute>,
    ) -> Result<()> {
        self.own_operators |= domain == operators::DOMAIN;
        let node = Node::new(op, domain, outputs[0], inputs, outputs, attributes)?;
        self.graph.add_node(node)
    }

    fn fresh(&mut self, kind: &str) -> Value {
        self.nodes += 1;
        format!("{}{kind}_{}", self.scope, self.nodes)
    }
}
