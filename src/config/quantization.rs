//! `quantization` in `config.json`: how MLX packed the matrices of a checkpoint.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::fields::Fields;
use crate::error::Result;
use crate::json::shown;
use crate::quantization::{Quantization, QuantizationMode, SUPPORTED};

/// Of a model whose matrices are, in part at least, quantised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Quantizations {
    /// For matrices that are quantised and not named.
    default: Quantization,
    /// By path without `model.`: `layers.0.mlp.down_proj`. None is not quantised.
    named: BTreeMap<String, Option<Quantization>>,
}

impl Quantizations {
    pub(crate) fn default(&self) -> Quantization {
        self.default
    }

    /// What the file says of the matrix at `path` by name.
    pub(crate) fn named(&self, path: &str) -> Option<Option<Quantization>> {
        self.named.get(path).copied()
    }
}

const SETTINGS: [&str; 3] = ["mode", "bits", "group_size"];

/// `quantization`, or `quantization_config`, which is written beside it with the same content.
pub(super) fn parse(fields: &Fields<'_>) -> Result<Option<Quantizations>> {
    let keys = ["quantization_config", "quantization"];
    let Some(object) = fields.renamed(keys, "an object", Value::as_object)? else {
        return Ok(None);
    };
    let default = settings(fields, object)?;
    let mut named = BTreeMap::new();
    for (path, value) in object
        .iter()
        .filter(|(key, _)| !SETTINGS.contains(&key.as_str()))
    {
        let quantization = match value {
            Value::Bool(false) => None,
            Value::Bool(true) => Some(default),
            Value::Object(own) => {
                if let Some(key) = own.keys().find(|key| !SETTINGS.contains(&key.as_str())) {
                    let expected = format!("{path} with mode, bits and group_size");
                    return Err(fields.unsupported("quantization", expected, key));
                }
                Some(settings(fields, own)?)
            }
            other => {
                let expected = "mode, bits, group_size and layers with their own";
                let found = format!("{path}: {}", shown(other));
                return Err(fields.unsupported("quantization", expected, found));
            }
        };
        let path = path.strip_prefix("model.").unwrap_or(path);
        named.insert(path.to_owned(), quantization);
    }
    Ok(Some(Quantizations { default, named }))
}

fn settings(fields: &Fields<'_>, object: &Map<String, Value>) -> Result<Quantization> {
    let refuse = |found: String| fields.unsupported("quantization", SUPPORTED, found);
    let given = |key| object.get(key).filter(|value| !value.is_null());
    let mode = match given("mode") {
        None => QuantizationMode::Affine,
        Some(value) => value
            .as_str()
            .and_then(QuantizationMode::from_name)
            .ok_or_else(|| refuse(format!("mode {}", shown(value))))?,
    };
    let (bits, group_size) = mode.defaults();
    let number = |key, default| match given(key) {
        None => Ok(default),
        Some(value) => value
            .as_u64()
            .and_then(|number| usize::try_from(number).ok())
            .ok_or_else(|| refuse(format!("{key} {}", shown(value)))),
    };
    let (bits, group_size) = (number("bits", bits)?, number("group_size", group_size)?);
    Quantization::new(mode, bits, group_size).ok_or_else(|| {
        let mode = mode.name();
        refuse(format!("{mode} with {bits} bits in groups of {group_size}"))
    })
}
