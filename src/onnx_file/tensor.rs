//! A stored tensor: its shape, type and bytes must agree, wherever the bytes are.

use super::wire::{Fields, Value, integers, once};
use crate::json;

/// How many bits an element of each ONNX type takes; none for texts.
const BITS: [(u64, Option<u64>); 25] = [
    (1, Some(32)),   // float
    (2, Some(8)),    // uint8
    (3, Some(8)),    // int8
    (4, Some(16)),   // uint16
    (5, Some(16)),   // int16
    (6, Some(32)),   // int32
    (7, Some(64)),   // int64
    (8, None),       // string
    (9, Some(8)),    // bool
    (10, Some(16)),  // float16
    (11, Some(64)),  // double
    (12, Some(32)),  // uint32
    (13, Some(64)),  // uint64
    (14, Some(64)),  // complex64
    (15, Some(128)), // complex128
    (16, Some(16)),  // bfloat16
    (17, Some(8)),   // float8e4m3fn
    (18, Some(8)),   // float8e4m3fnuz
    (19, Some(8)),   // float8e5m2
    (20, Some(8)),   // float8e5m2fnuz
    (21, Some(4)),   // uint4
    (22, Some(4)),   // int4
    (23, Some(4)),   // float4e2m1
    (24, Some(8)),   // float8e8m0
    (25, Some(2)),   // uint2
];

/// A tensor whose bytes are in another file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct External {
    pub(super) tensor: String,
    pub(super) location: String,
    pub(super) offset: u64,
    pub(super) bytes: u64,
}

/// What a tensor is, once its parts agree.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Stored {
    pub(super) data_type: u64,
    /// Bytes in this file or another.
    pub(super) bytes: u64,
    pub(super) external: Option<External>,
}

/// The fields of a TensorProto.
#[derive(Default)]
struct Parts<'a> {
    name: Option<&'a str>,
    dims: Vec<u64>,
    data_type: Option<u64>,
    raw: Option<&'a [u8]>,
    /// Elements in the typed fields.
    typed: u64,
    location: Option<u64>,
    external: Vec<(&'a str, &'a str)>,
}

/// Checks a TensorProto.
pub(super) fn parse(message: &[u8]) -> Result<Stored, String> {
    let parts = read(message)?;
    let name = json::shorten(parts.name.unwrap_or_default());
    parts
        .check(&name)
        .map_err(|e| format!("tensor {name:?}: {e}"))
}

fn read(message: &[u8]) -> Result<Parts<'_>, String> {
    let mut parts = Parts::default();
    for field in Fields::of(message) {
        match field? {
            (1, value) => integers(value, &mut parts.dims)?,
            (2, value) => once(&mut parts.data_type, value.integer()?, "a tensor's type")?,
            (3, _) => return Err("a tensor is stored in segments".to_owned()),
            (4, value) => parts.typed += fixed(value, 4)?,
            (5 | 7 | 11, value) => parts.typed += varints(value)?,
            (6, _) => parts.typed += 1,
            (10, value) => parts.typed += fixed(value, 8)?,
            (8, value) => once(&mut parts.name, value.text()?, "a tensor's name")?,
            (9, value) => once(&mut parts.raw, value.bytes()?, "a tensor's data")?,
            (13, value) => parts.external.push(entry(value.bytes()?)?),
            (14, value) => once(&mut parts.location, value.integer()?, "data_location")?,
            _ => {}
        }
    }
    Ok(parts)
}

impl Parts<'_> {
    fn check(&self, name: &str) -> Result<Stored, String> {
        let data_type = self.data_type.unwrap_or_default();
        let known = BITS.iter().find(|(number, _)| *number == data_type);
        let Some((_, bits)) = known else {
            return Err(format!("its type {data_type} is not one of ONNX"));
        };
        let elements = self.elements()?;
        let bytes = match bits {
            Some(bits) => elements.checked_mul(*bits).map(|bits| bits.div_ceil(8)),
            None => Some(0),
        };
        let bytes = bytes.ok_or_else(|| format!("its shape {:?} is too large", self.dims))?;
        let external = match (self.location.unwrap_or_default(), self.external.is_empty()) {
            (0, true) => None,
            (1, false) => Some(self.external(name, bytes)?),
            _ => return Err("it is half in this file and half in another".to_owned()),
        };
        if external.is_none() {
            self.check_data(elements, bytes, *bits)?;
        }
        Ok(Stored {
            data_type,
            bytes,
            external,
        })
    }

    fn elements(&self) -> Result<u64, String> {
        let product = self.dims.iter().try_fold(1u64, |product, &dim| {
            i64::try_from(dim).ok()?;
            product.checked_mul(dim)
        });
        product.ok_or_else(|| format!("its shape {:?} is negative or too large", self.dims))
    }

    fn check_data(&self, elements: u64, bytes: u64, bits: Option<u64>) -> Result<(), String> {
        let Some(raw) = self.raw else {
            // Two numbers for a complex one; two elements of four bits may share one.
            let fits = match bits {
                Some(bits @ (2 | 4)) => (elements * bits).div_ceil(8)..=elements,
                _ if matches!(self.data_type, Some(14 | 15)) => 2 * elements..=2 * elements,
                _ => elements..=elements,
            };
            return match fits.contains(&self.typed) {
                true => Ok(()),
                false => Err(format!(
                    "expected {elements} elements, found {}",
                    self.typed
                )),
            };
        };
        if self.typed > 0 {
            return Err("its data is there twice".to_owned());
        }
        match raw.len() as u64 == bytes {
            true => Ok(()),
            false => Err(format!("expected {bytes} bytes, found {}", raw.len())),
        }
    }

    fn external(&self, name: &str, bytes: u64) -> Result<External, String> {
        if self.raw.is_some() || self.typed > 0 {
            return Err("its data is both here and in another file".to_owned());
        }
        let [mut location, mut offset, mut length] = [None; 3];
        for &(key, value) in &self.external {
            match key {
                "location" => once(&mut location, value, key)?,
                "offset" => once(&mut offset, value, key)?,
                "length" => once(&mut length, value, key)?,
                _ => {}
            }
        }
        let number = |value: &str| {
            let parsed = value.parse::<u64>();
            parsed.map_err(|_| format!("expected a number, found {:?}", json::shorten(value)))
        };
        let length = length.map(number).transpose()?.unwrap_or(bytes);
        if length != bytes {
            return Err(format!("expected {bytes} bytes, found {length}"));
        }
        Ok(External {
            tensor: name.to_owned(),
            location: location.ok_or("its file is not named")?.to_owned(),
            offset: offset.map(number).transpose()?.unwrap_or(0),
            bytes,
        })
    }
}

/// A StringStringEntryProto.
fn entry(message: &[u8]) -> Result<(&str, &str), String> {
    let [mut key, mut value] = [None; 2];
    for field in Fields::of(message) {
        match field? {
            (1, text) => once(&mut key, text.text()?, "a key")?,
            (2, text) => once(&mut value, text.text()?, "a value")?,
            _ => {}
        }
    }
    Ok((key.unwrap_or_default(), value.unwrap_or_default()))
}

fn fixed(value: Value<'_>, size: u64) -> Result<u64, String> {
    match value {
        Value::Fixed(_) => Ok(1),
        other => Ok(other.bytes()?.len() as u64 / size),
    }
}

/// A varint ends at the first byte below 128.
fn varints(value: Value<'_>) -> Result<u64, String> {
    match value {
        Value::Varint(_) => Ok(1),
        other => Ok(other.bytes()?.iter().filter(|&&byte| byte < 0x80).count() as u64),
    }
}
