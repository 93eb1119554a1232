//! Why a graph cannot be bound, in words.

use super::declared::{Declared, Dimension};
use crate::json;

/// Type numbers of ONNX.
pub(super) const FLOAT: u64 = 1;
pub(super) const INT32: u64 = 6;
pub(super) const INT64: u64 = 7;
pub(super) const FLOAT16: u64 = 10;

/// Why a graph cannot be bound: which value, what was expected, what was found.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Mismatch {
    pub(super) value: String,
    pub(super) expected: String,
    pub(super) found: String,
}

pub(super) fn wrong_type(declared: &Declared, expected: &str, found: u64) -> Mismatch {
    let found = format!("{} (type {found})", type_name(found));
    mismatch(
        &declared.name,
        &format!("elements of type {expected}"),
        found,
    )
}

/// The types that a real file may well have.
pub(super) fn type_name(number: u64) -> &'static str {
    match number {
        FLOAT => "float32",
        2 => "uint8",
        3 => "int8",
        INT32 => "int32",
        INT64 => "int64",
        9 => "bool",
        FLOAT16 => "float16",
        11 => "double",
        16 => "bfloat16",
        21 => "uint4",
        22 => "int4",
        _ => "another type",
    }
}

pub(super) fn mismatch(value: &str, expected: &str, found: impl Into<String>) -> Mismatch {
    Mismatch {
        value: json::shorten(value),
        expected: expected.to_owned(),
        found: json::shorten(&found.into()),
    }
}

pub(super) fn names(values: &[Declared]) -> String {
    let names: Vec<&str> = values.iter().map(|value| value.name.as_str()).collect();
    names.join(", ")
}

pub(super) fn shown(shape: Option<&[Dimension]>) -> String {
    let Some(shape) = shape else {
        return "no shape".to_owned();
    };
    let sizes: Vec<String> = shape
        .iter()
        .map(|dimension| match dimension {
            Dimension::Fixed(size) => size.to_string(),
            Dimension::Free => "any".to_owned(),
        })
        .collect();
    format!("shape ({})", sizes.join(", "))
}
