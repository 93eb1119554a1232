//! ONNX files made by others -> [`OnnxModel`]: checked before ONNX Runtime sees a byte, and bound by
//! what the graph declares.

mod external;
mod find;
mod functions;
mod graph;
mod signature;
mod tensor;
mod wire;

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::config::OtherConfig;
use crate::dtype::Dtype;
use crate::error::{Error, Result};
use crate::file;
use crate::json;
use crate::model::{EmbeddingConfig, Pooling};
use crate::modules::{self, Declared};
use crate::prompt::Instructions;
use graph::Contents;
#[cfg(feature = "onnx")]
pub(crate) use signature::{Content, Float, Input, Integer, OutputKind, Rows, Signature};
#[cfg(not(feature = "onnx"))]
use signature::{Float, OutputKind, Signature};

/// A protocol buffer cannot be larger; weights beyond that are external data.
const FILE_LIMIT: u64 = i32::MAX as u64;

/// An embedding model in an ONNX file, with the files beside it that say how texts are read.
///
/// The file has been checked: every tensor's bytes are where and as many as its shape says, none
/// is outside the model's directory, no operator needs a library of its own, the inputs and the
/// output are ones that this crate can serve.
#[derive(Debug, Clone)]
pub struct OnnxModel {
    file: PathBuf,
    data_files: Vec<PathBuf>,
    config: EmbeddingConfig,
    other: OtherConfig,
    signature: Signature,
    weights: BTreeMap<u64, u64>,
}

impl OnnxModel {
    /// The ONNX file of a model's directory, or none where the directory holds a Qwen3 checkpoint,
    /// or nothing.
    ///
    /// `named` is a file relative to the directory. Without it safetensors of a Qwen3 model come
    /// first, then `model.onnx`, `onnx/model.onnx`, and the only `.onnx` of another name.
    /// `pooling` is for directories that declare none.
    ///
    /// # Errors
    /// [`Error::OnnxFile`], [`Error::OnnxInterface`] and [`Error::OnnxExternalData`] for the file;
    /// [`Error::UnsupportedModel`], [`Error::Config`] and [`Error::Json`] for those beside it.
    pub fn find(
        dir: &Path,
        named: Option<&Path>,
        pooling: Option<Pooling>,
    ) -> Result<Option<Self>> {
        match find::find(dir, named)? {
            Some(file) => Self::open(dir, file, pooling).map(Some),
            None => Ok(None),
        }
    }

    fn open(dir: &Path, file: PathBuf, wanted: Option<Pooling>) -> Result<Self> {
        let config_path = dir.join("config.json");
        let other = OtherConfig::from_file(&config_path)?;
        let declared = modules::read(dir)?;
        let contents = contents(&file)?;
        let signature = signature::bind(&contents).map_err(|mismatch| Error::OnnxInterface {
            path: file.clone(),
            value: mismatch.value,
            expected: mismatch.expected,
            found: mismatch.found,
        })?;
        let pooling = pooling(dir, &signature, &declared, &other, wanted)?;
        let hidden_size = hidden_size(&file, &signature, &declared, &other)?;
        let folder = file.parent().unwrap_or(dir);
        Ok(Self {
            data_files: external::check(&file, folder, &contents.external)?,
            config: EmbeddingConfig {
                vocab_size: other.vocab_size,
                hidden_size,
                context: context(dir, &declared, &other)?,
                pooling,
                qwen3: None,
            },
            weights: contents.bytes,
            file,
            other,
            signature,
        })
    }

    /// The ONNX file.
    #[must_use]
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// The files beside it that hold weights.
    #[must_use]
    pub fn data_files(&self) -> &[PathBuf] {
        &self.data_files
    }

    /// Sizes and pooling.
    #[must_use]
    pub fn config(&self) -> &EmbeddingConfig {
        &self.config
    }

    /// Bytes of all stored tensors.
    #[must_use]
    pub fn weight_bytes(&self) -> u64 {
        self.weights.values().sum()
    }

    /// The element type of most bytes of the weights: `float32`, `float16`, `int8` and so on.
    #[must_use]
    pub fn weight_type(&self) -> &'static str {
        let most = self.weights.iter().max_by_key(|&(_, bytes)| bytes);
        most.map_or("none", |(&number, _)| signature::type_name(number))
    }

    /// The element type of the rows that the graph gives.
    #[must_use]
    pub fn precision(&self) -> Dtype {
        match self.signature.output.element {
            Float::F32 => Dtype::F32,
            Float::F16 => Dtype::F16,
        }
    }

    pub(crate) fn instructions(&self) -> Instructions {
        match self.other.is_qwen3() {
            true => Instructions::Qwen3,
            false => Instructions::Declared,
        }
    }
}

#[cfg(feature = "onnx")]
impl OnnxModel {
    pub(crate) fn signature(&self) -> &Signature {
        &self.signature
    }

    pub(crate) fn other(&self) -> &OtherConfig {
        &self.other
    }

    /// The bytes of the ONNX file, which must still be what was checked.
    pub(crate) fn bytes(&self) -> Result<Vec<u8>> {
        let bytes = read(&self.file)?;
        parse(&self.file, &bytes)?;
        Ok(bytes)
    }
}

fn contents(file: &Path) -> Result<Contents> {
    let bytes = read(file)?;
    parse(file, &bytes)
}

fn parse(file: &Path, bytes: &[u8]) -> Result<Contents> {
    graph::parse(bytes).map_err(|reason| unusable(file, reason))
}

fn read(path: &Path) -> Result<Vec<u8>> {
    let failed = |source: io::Error| Error::Io {
        path: path.to_owned(),
        source,
    };
    let (mut file, len) = file::open(path).map_err(failed)?;
    if len > FILE_LIMIT {
        let reason = format!("expected at most {FILE_LIMIT} bytes, found {len}");
        return Err(unusable(path, reason));
    }
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

/// What the caller wants counts only where the directory is silent: a wrong pooling is a wrong
/// vector.
fn pooling(
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
fn hidden_size(
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
fn context(dir: &Path, declared: &Declared, other: &OtherConfig) -> Result<usize> {
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

fn unusable(path: &Path, reason: String) -> Error {
    Error::OnnxFile {
        path: path.to_owned(),
        reason,
    }
}
