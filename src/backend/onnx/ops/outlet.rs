//! What a graph reads and gives.

use ort::value::{Outlet, Shape, SymbolicDimensions, TensorElementType, ValueType};

/// An axis of an input or output of the graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::backend::onnx) enum Axis {
    Of(i64),
    /// Differs from run to run.
    Any,
    /// As [`Any`](Self::Any), but in one run all axes of this name are equally long: ONNX Runtime
    /// plans a session sooner where it can tell which arrays are. Only for a first axis beside
    /// those that do not differ: ONNX Runtime 1.31 gives its name to all that do.
    Named(&'static str),
}

/// An input or output of the graph.
pub(in crate::backend::onnx) fn outlet(
    name: &str,
    element: TensorElementType,
    axes: &[Axis],
) -> Outlet {
    let sizes = axes.iter().map(|axis| match *axis {
        Axis::Of(size) => size,
        Axis::Any | Axis::Named(_) => -1,
    });
    let names = axes.iter().map(|axis| match *axis {
        Axis::Of(_) | Axis::Any => String::new(),
        Axis::Named(name) => name.to_owned(),
    });
    let tensor = ValueType::Tensor {
        ty: element,
        shape: Shape::new(sizes),
        dimension_symbols: SymbolicDimensions::new(names),
    };
    Outlet::new(name, tensor)
}
