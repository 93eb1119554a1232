//! The tensors that make one matrix: itself, or the codes, scales and biases it was quantised to.

use std::collections::BTreeMap;

use super::{Stored, missing};
use crate::config::Quantizations;
use crate::dtype::Dtype;
use crate::error::{Error, Result};
use crate::quantization::{Quantization, QuantizationMode};

/// What a stored tensor may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Float,
    Codes,
    /// Scales that are floats of 8 bits.
    ByteScales,
}

impl Kind {
    pub(super) fn check(self, stored: &Stored) -> Result<()> {
        let (expected, accepted) = match self {
            Self::Float => ("F32, F16 or BF16", stored.entry.dtype.is_float()),
            Self::Codes => ("U32", stored.entry.dtype == Dtype::U32),
            Self::ByteScales => ("U8", stored.entry.dtype == Dtype::U8),
        };
        if accepted {
            return Ok(());
        }
        Err(Error::TensorDtype {
            path: stored.shard.path.clone(),
            tensor: stored.entry.name.clone(),
            expected,
            found: stored.entry.dtype.to_string(),
        })
    }
}

/// How the matrix at `path` is packed: as the configuration says of it by name or, if it is found
/// with scales or codes, by default.
pub(super) fn of_matrix(
    quantizations: &Quantizations,
    path: &str,
    found: &BTreeMap<String, Stored>,
) -> Option<Quantization> {
    quantizations.named(path).unwrap_or_else(|| {
        let weight = found.get(&format!("{path}.weight"));
        let codes = weight.is_some_and(|stored| stored.entry.dtype == Dtype::U32);
        let packed = codes || found.contains_key(&format!("{path}.scales"));
        packed.then(|| quantizations.default())
    })
}

/// Takes the parts of the matrix `[rows, columns]` at `path` out of `found`, checked.
pub(super) fn take(
    dir: &std::path::Path,
    path: &str,
    [rows, columns]: [usize; 2],
    quantization: Quantization,
    found: &mut BTreeMap<String, Stored>,
) -> Result<Vec<(String, Stored)>> {
    let (bits, group_size) = (quantization.bits(), quantization.group_size());
    let scale = match quantization.mode() {
        QuantizationMode::Affine => Kind::Float,
        _ => Kind::ByteScales,
    };
    let mut parts = vec![("weight", Kind::Codes), ("scales", scale)];
    if quantization.mode() == QuantizationMode::Affine {
        parts.push(("biases", Kind::Float));
    }
    let mut taken: Vec<(String, Stored)> = Vec::new();
    for (part, kind) in parts {
        let key = format!("{path}.{part}");
        let stored = found.remove(&key).ok_or_else(|| missing(dir, &key))?;
        kind.check(&stored)?;
        if !columns.is_multiple_of(group_size) {
            return Err(Error::TensorQuantization {
                path: stored.shard.path.clone(),
                tensor: stored.entry.name.clone(),
                expected: format!("columns that groups of {group_size} divide"),
                found: columns.to_string(),
            });
        }
        stored.check_shape(match kind {
            // Whole words, since a group is 16 elements or a multiple.
            Kind::Codes => vec![rows, columns / 16 * bits / 2],
            _ => vec![rows, columns / group_size],
        })?;
        taken.push((key, stored));
    }
    Ok(taken)
}
