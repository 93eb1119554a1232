//! `modules.json` and the pooling file beside it: what a model declares about its vectors.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::error::{Error, Result};
use crate::json;
use crate::model::Pooling;

/// What a model directory declares beside its weights.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Declared {
    /// The most tokens of a text, if fewer than the model's context.
    pub(crate) max_tokens: Option<usize>,
    modules: Option<Modules>,
}

/// The list in `modules.json`.
#[derive(Debug, PartialEq, Eq)]
struct Modules {
    path: PathBuf,
    kinds: Vec<String>,
    /// The folder of each Pooling module.
    pooling: Vec<PathBuf>,
}

/// Reads what a model directory declares. One without `modules.json` declares nothing about its
/// pooling, as many conversions do.
pub(crate) fn read(dir: &Path) -> Result<Declared> {
    let modules = read_modules(dir)?;
    let path = dir.join("sentence_bert_config.json");
    let mut declared = Declared {
        max_tokens: None,
        modules,
    };
    let Some(text) = json::read_optional(&path, "the transformer's options")? else {
        return Ok(declared);
    };
    let object = json::parse_object(&path, &text)?;
    if object.get("do_lower_case") == Some(&Value::Bool(true)) {
        return Err(unsupported(&path, "do_lower_case", "false", "true"));
    }
    let max_tokens = object.get("max_seq_length").and_then(Value::as_u64);
    declared.max_tokens = max_tokens.and_then(|n| usize::try_from(n).ok());
    Ok(declared)
}

impl Declared {
    /// Checks that the directory declares what this crate computes from a checkpoint: a
    /// transformer, last-token pooling and normalisation. What declares nothing passes.
    pub(crate) fn check_last_token(&self) -> Result<()> {
        self.pooling(&[Pooling::LastToken]).map(|_| ())
    }

    /// The pooling that the directory declares, which must be one of `accepted`, as all there is
    /// between the transformer and the normalisation.
    pub(crate) fn pooling(&self, accepted: &[Pooling]) -> Result<Option<Pooling>> {
        let Some(modules) = &self.modules else {
            return Ok(None);
        };
        let known = ["Transformer", "Normalize", "Pooling"];
        let other = modules.kinds.iter().find(|kind| {
            let name = kind.rsplit('.').next().unwrap_or(kind);
            !known.contains(&name)
        });
        if let Some(kind) = other {
            let expected = "Transformer, Pooling or Normalize";
            return Err(unsupported(&modules.path, "type", expected, kind));
        }
        let mut pooling = None;
        for folder in &modules.pooling {
            pooling = Some(read_pooling(folder, accepted)?);
        }
        match pooling {
            None => Err(unsupported(
                &modules.path,
                "type",
                "a Pooling module",
                "none",
            )),
            found => Ok(found),
        }
    }

    /// Whether something between pooling and the vector may change its size.
    pub(crate) fn has_dense(&self) -> bool {
        let kinds = self.modules.iter().flat_map(|modules| &modules.kinds);
        kinds.into_iter().any(|kind| kind.ends_with("Dense"))
    }
}

fn read_modules(dir: &Path) -> Result<Option<Modules>> {
    let path = dir.join("modules.json");
    let Some(text) = json::read_optional(&path, "the model's modules")? else {
        return Ok(None);
    };
    let list: Vec<Value> =
        serde_json::from_str(&text).map_err(|e| json::invalid(&path, json::reason(&e)))?;
    let (mut kinds, mut pooling) = (Vec::new(), Vec::new());
    for module in &list {
        let kind = module.get("type").and_then(Value::as_str).unwrap_or("none");
        if kind.rsplit('.').next() == Some("Pooling") {
            let folder = module.get("path").and_then(Value::as_str);
            pooling.push(dir.join(folder.unwrap_or("1_Pooling")));
        }
        kinds.push(kind.to_owned());
    }
    Ok(Some(Modules {
        path,
        kinds,
        pooling,
    }))
}

/// The key of each pooling mode in a file of the older style, its name in the newer.
const MODES: [(&str, &str, Pooling); 3] = [
    ("pooling_mode_lasttoken", "lasttoken", Pooling::LastToken),
    ("pooling_mode_cls_token", "cls", Pooling::Cls),
    ("pooling_mode_mean_tokens", "mean", Pooling::Mean),
];

fn read_pooling(dir: &Path, accepted: &[Pooling]) -> Result<Pooling> {
    let path = dir.join("config.json");
    let text = json::read(&path, "the pooling that modules.json announces")?;
    let object = json::parse_object(&path, &text)?;
    let set = |mode: &str| object.get(mode) == Some(&Value::Bool(true));
    let modes = object.keys().filter(|key| key.starts_with("pooling_mode_"));
    let found: Vec<&str> = modes.filter(|mode| set(mode)).map(String::as_str).collect();
    let named = object.get("pooling_mode").and_then(Value::as_str);
    let accepted = || {
        MODES
            .iter()
            .filter(|(.., pooling)| accepted.contains(pooling))
    };
    let pooling = match (found.as_slice(), named) {
        ([], Some(name)) => accepted().find(|(_, known, _)| *known == name),
        ([key], _) => accepted().find(|(known, ..)| known == key),
        _ => None,
    };
    let Some((.., pooling)) = pooling else {
        let keys: Vec<&str> = accepted().map(|(key, ..)| *key).collect();
        let names: Vec<&str> = accepted().map(|(_, name, _)| *name).collect();
        return Err(match (found.as_slice(), named) {
            ([], Some(name)) => unsupported(&path, "pooling_mode", &names.join(" or "), name),
            (modes, _) => {
                let expected = format!("{} alone", keys.join(" or "));
                unsupported(&path, "pooling_mode_*", &expected, &format!("{modes:?}"))
            }
        });
    };
    // Only a mean has tokens to leave out.
    if *pooling == Pooling::Mean && object.get("include_prompt") == Some(&Value::Bool(false)) {
        return Err(unsupported(&path, "include_prompt", "true", "false"));
    }
    Ok(*pooling)
}

fn unsupported(path: &Path, key: &'static str, expected: &str, found: &str) -> Error {
    Error::UnsupportedModel {
        path: path.to_owned(),
        key,
        expected: expected.to_owned(),
        found: found.to_owned(),
    }
}
