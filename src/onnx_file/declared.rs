//! Inputs and outputs of a graph as the file declares them.

use super::wire::{Fields, Value, integers, once, text_of};

/// An input or output of the graph.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Declared {
    pub(super) name: String,
    /// As ONNX numbers them; 0 for what is no tensor.
    pub(super) data_type: u64,
    /// None where the file does not say.
    pub(super) shape: Option<Vec<Dimension>>,
}

/// A dimension of an input or output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Dimension {
    Fixed(u64),
    Free,
}

/// A ValueInfoProto.
pub(super) fn declared(message: &[u8]) -> Result<Declared, String> {
    let mut kind = None;
    for field in Fields::of(message) {
        if let (2, value) = field? {
            once(&mut kind, value.bytes()?, "a type")?;
        }
    }
    let mut declared = Declared {
        name: text_of(message, 1)?.to_owned(),
        data_type: 0,
        shape: None,
    };
    for field in Fields::of(kind.unwrap_or_default()) {
        if let (1, value) = field? {
            (declared.data_type, declared.shape) = tensor_type(value)?;
        }
    }
    Ok(declared)
}

/// A TypeProto.Tensor.
fn tensor_type(value: Value<'_>) -> Result<(u64, Option<Vec<Dimension>>), String> {
    let (mut data_type, mut shape) = (None, None);
    for field in Fields::of(value.bytes()?) {
        match field? {
            (1, value) => once(&mut data_type, value.integer()?, "an element type")?,
            (2, value) => once(&mut shape, value.bytes()?, "a shape")?,
            _ => {}
        }
    }
    let shape = shape.map(|shape| {
        let dimensions = Fields::of(shape).filter_map(|field| match field {
            Ok((1, value)) => Some(dimension(value)),
            Ok(_) => None,
            Err(error) => Some(Err(error)),
        });
        dimensions.collect::<Result<_, _>>()
    });
    Ok((data_type.unwrap_or_default(), shape.transpose()?))
}

fn dimension(value: Value<'_>) -> Result<Dimension, String> {
    let mut size = Vec::new();
    for field in Fields::of(value.bytes()?) {
        if let (1, value) = field? {
            integers(value, &mut size)?;
        }
    }
    Ok(match size.last() {
        // A negative size is how some exporters write a free one.
        Some(&size) if i64::try_from(size).is_ok() => Dimension::Fixed(size),
        _ => Dimension::Free,
    })
}
