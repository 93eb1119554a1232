//! ONNX files written by hand: as much of the format as a refusal needs.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use crate::support::copy_dir;

pub(crate) const FLOAT: u64 = 1;
pub(crate) const INT64: u64 = 7;

/// A field of bytes: a text or a nested message.
pub(crate) fn field(number: u64, content: impl AsRef<[u8]>) -> Vec<u8> {
    let content = content.as_ref();
    let mut bytes = varint(number << 3 | 2);
    bytes.extend(varint(content.len() as u64));
    bytes.extend(content);
    bytes
}

/// A field that is a number.
pub(crate) fn number(field: u64, value: u64) -> Vec<u8> {
    [varint(field << 3), varint(value)].concat()
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

/// A declared input or output; a dimension of 0 is a free one.
pub(crate) fn value(name: &str, data_type: u64, shape: &[u64]) -> Vec<u8> {
    let dimension = |&size: &u64| match size {
        0 => field(1, field(2, "any")),
        size => field(1, number(1, size)),
    };
    let shape = field(2, shape.iter().map(dimension).collect::<Vec<_>>().concat());
    let tensor = [number(1, data_type), shape].concat();
    [field(1, name), field(2, field(1, tensor))].concat()
}

/// The two inputs that every graph has.
pub(crate) fn usual_inputs() -> Vec<Vec<u8>> {
    ["input_ids", "attention_mask"]
        .map(|name| value(name, INT64, &[0, 0]))
        .into()
}

pub(crate) fn usual_output() -> Vec<u8> {
    value("last_hidden_state", FLOAT, &[0, 0, 16])
}

/// A graph of these inputs and outputs, with `more` fields of its own.
pub(crate) fn graph(inputs: &[Vec<u8>], outputs: &[Vec<u8>], more: &[u8]) -> Vec<u8> {
    let inputs = inputs.iter().flat_map(|input| field(11, input));
    let outputs = outputs.iter().flat_map(|output| field(12, output));
    inputs.chain(outputs).chain(more.iter().copied()).collect()
}

pub(crate) fn file(graph: &[u8]) -> Vec<u8> {
    [number(1, 8), field(7, graph), field(8, number(2, 18))].concat()
}

/// A file whose graph has the usual inputs and output, and `more`.
pub(crate) fn usual(more: &[u8]) -> Vec<u8> {
    file(&graph(&usual_inputs(), &[usual_output()], more))
}

/// A copy of a fixture with this as its ONNX file.
pub(crate) fn model(fixture: &Path, file: &[u8]) -> TempDir {
    let copy = copy_dir(fixture);
    fs::write(copy.path().join("model.onnx"), file).unwrap();
    copy
}

/// Overwrites bytes of a file.
pub(crate) fn overwrite(path: &Path, at: usize, bytes: &[u8]) {
    let mut file = fs::read(path).unwrap();
    file[at..at + bytes.len()].copy_from_slice(bytes);
    fs::write(path, file).unwrap();
}
