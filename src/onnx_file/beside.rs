//! What the files beside an ONNX file say of it: pooling, size of a row, longest text.

use std::path::Path;

use serde_json::Value;

use super::signature::{OutputKind, Signature};
use crate::config::OtherConfig;
use crate::error::{Error, Result};
use crate::json;
use crate::model::Pooling;
use crate::modules::Declared;

/// What the caller wants counts only where the directory is silent: a wrong pooling is a wrong
/// vector.
pub(super) fn pooling(
    dir: &Path,
    signature: &Signature,
    declared: &Declared,
    other: &OtherConfig,
    wanted: Option<Pooling>,
) -> Result<Pooling> {
    let found = match signature.output.kind {
        OutputKind::Pooled => Some(Pooling::Graph),
        OutputKind::Tokens => {
            let computed = [Pooling::LastToken, Pooling::Cls, Pooling::Mean];
            let silent = other.is_qwen3().then_some(Pooling::LastToken);
            declared.pooling(&computed)?.or(silent)
        }
    };
    match (found, wanted) {
        (Some(found), Some(wanted)) if found != wanted => Err(Error::Option {
            option: "pooling",
            expected: format!("{found}, which is the model's own"),
            found: wanted.to_string(),
        }),
        (None, Some(Pooling::Graph)) => Err(Error::Option {
            option: "pooling",
            expected: "last-token, cls or mean: the graph gives a row for each token".to_owned(),
            found: Pooling::Graph.to_string(),
        }),
        (found, wanted) => found.or(wanted).ok_or(Error::MissingFile {
            path: dir.join("modules.json"),
            expected: "the model's pooling, which has to be given as an option without it",
        }),
    }
}

/// What the graph declares must be what the configuration says, unless a layer after pooling may
/// change it.
pub(super) fn hidden_size(
    file: &Path,
    signature: &Signature,
    declared: &Declared,
    other: &OtherConfig,
) -> Result<usize> {
    let output = &signature.output;
    let may_differ = output.kind == OutputKind::Pooled && declared.has_dense();
    match (output.width, other.hidden_size) {
        (Some(width), Some(hidden)) if width != hidden && !may_differ => {
            Err(Error::OnnxInterface {
                path: file.to_owned(),
                value: output.name.clone(),
                expected: format!("rows of {hidden} elements, as config.json says"),
                found: width.to_string(),
            })
        }
        (Some(width), _) if width > 0 => Ok(width),
        (None, Some(hidden)) if !may_differ => Ok(hidden),
        _ => Err(Error::OnnxInterface {
            path: file.to_owned(),
            value: output.name.clone(),
            expected: "rows of a size that the graph or config.json gives".to_owned(),
            found: "none".to_owned(),
        }),
    }
}

/// As sentence-transformers finds it: `max_seq_length`, else `model_max_length` of the tokenizer,
/// at most the positions that the model has.
pub(super) fn context(dir: &Path, declared: &Declared, other: &OtherConfig) -> Result<usize> {
    let limit = match declared.max_tokens {
        Some(limit) => Some(limit),
        None => model_max_length(&dir.join("tokenizer_config.json"))?,
    };
    Ok(limit.map_or(other.context, |limit| limit.clamp(1, other.context)))
}

fn model_max_length(path: &Path) -> Result<Option<usize>> {
    let Some(text) = json::read_optional(path, "the tokenizer's configuration")? else {
        return Ok(None);
    };
    let object = json::parse_object(path, &text)?;
    // Where there is none, transformers writes 10^30, which is no u64.
    let length = object.get("model_max_length").and_then(Value::as_u64);
    Ok(length.and_then(|length| usize::try_from(length).ok()))
}
