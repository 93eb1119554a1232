//! `modules.json` and the pooling file beside it: refuses models whose vectors are made otherwise.

use std::path::Path;

use serde_json::Value;

use crate::error::{Error, Result};
use crate::json;

/// What a model directory declares beside its weights.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Declared {
    /// The most tokens of a text, if fewer than the model's context.
    pub(crate) max_tokens: Option<usize>,
}

/// Checks that a model directory declares what this crate computes: a transformer, last-token
/// pooling and normalisation. A directory without `modules.json` declares nothing, as many
/// conversions do, and passes.
pub(crate) fn check(dir: &Path) -> Result<Declared> {
    check_modules(dir)?;
    let path = dir.join("sentence_bert_config.json");
    let Some(text) = json::read_optional(&path, "the transformer's options")? else {
        return Ok(Declared::default());
    };
    let object = json::parse_object(&path, &text)?;
    if object.get("do_lower_case") == Some(&Value::Bool(true)) {
        return Err(unsupported(&path, "do_lower_case", "false", "true"));
    }
    let max_tokens = object.get("max_seq_length").and_then(Value::as_u64);
    Ok(Declared {
        max_tokens: max_tokens.and_then(|n| usize::try_from(n).ok()),
    })
}

fn check_modules(dir: &Path) -> Result<()> {
    let path = dir.join("modules.json");
    let Some(text) = json::read_optional(&path, "the model's modules")? else {
        return Ok(());
    };
    let modules: Vec<Value> =
        serde_json::from_str(&text).map_err(|e| json::invalid(&path, json::reason(&e)))?;
    let mut pooled = false;
    for module in &modules {
        let kind = module.get("type").and_then(Value::as_str).unwrap_or("none");
        match kind.rsplit('.').next().unwrap_or(kind) {
            "Transformer" | "Normalize" => {}
            "Pooling" => {
                let folder = module.get("path").and_then(Value::as_str);
                check_pooling(&dir.join(folder.unwrap_or("1_Pooling")))?;
                pooled = true;
            }
            _ => {
                let expected = "Transformer, Pooling or Normalize";
                return Err(unsupported(&path, "type", expected, kind));
            }
        }
    }
    match pooled {
        true => Ok(()),
        false => Err(unsupported(&path, "type", "a Pooling module", "none")),
    }
}

fn check_pooling(dir: &Path) -> Result<()> {
    let path = dir.join("config.json");
    let text = json::read(&path, "the pooling that modules.json announces")?;
    let object = json::parse_object(&path, &text)?;
    let set = |mode: &str| object.get(mode) == Some(&Value::Bool(true));
    let modes = object.keys().filter(|key| key.starts_with("pooling_mode_"));
    let found: Vec<&str> = modes.filter(|mode| set(mode)).map(String::as_str).collect();
    let named = object.get("pooling_mode").and_then(Value::as_str);
    match (found.as_slice(), named) {
        (["pooling_mode_lasttoken"], _) | ([], Some("lasttoken")) => Ok(()),
        ([], Some(other)) => Err(unsupported(&path, "pooling_mode", "lasttoken", other)),
        (modes, _) => Err(unsupported(
            &path,
            "pooling_mode_*",
            "pooling_mode_lasttoken alone",
            &format!("{modes:?}"),
        )),
    }
}

fn unsupported(path: &Path, key: &'static str, expected: &str, found: &str) -> Error {
    Error::UnsupportedModel {
        path: path.to_owned(),
        key,
        expected: expected.to_owned(),
        found: found.to_owned(),
    }
}
