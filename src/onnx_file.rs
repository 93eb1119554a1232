//! ONNX files made by others -> [`OnnxModel`]: checked before ONNX Runtime sees a byte, and bound by
//! what the graph declares.

mod beside;
mod declared;
mod external;
mod find;
mod functions;
mod graph;
mod mismatch;
mod signature;
mod tensor;
mod wire;

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::config::OtherConfig;
use crate::dtype::Dtype;
use crate::error::{Error, Result};
use crate::file;
use crate::model::{EmbeddingConfig, Pooling};
use crate::modules;
use crate::prompt::Instructions;
use graph::Contents;
#[cfg(feature = "onnx")]
pub(crate) use signature::{Content, Float, Input, Integer, OutputKind, Rows, Signature};
#[cfg(not(feature = "onnx"))]
use signature::{Float, Signature};

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
        let pooling = beside::pooling(dir, &signature, &declared, &other, wanted)?;
        let hidden_size = beside::hidden_size(&file, &signature, &declared, &other)?;
        let folder = file.parent().unwrap_or(dir);
        Ok(Self {
            data_files: external::check(&file, folder, &contents.external)?,
            config: EmbeddingConfig {
                vocab_size: other.vocab_size,
                hidden_size,
                context: beside::context(dir, &declared, &other)?,
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
        most.map_or("none", |(&number, _)| mismatch::type_name(number))
    }

    /// The element type of the rows that the graph gives.
    #[must_use]
    pub fn precision(&self) -> Dtype {
        match self.signature.output.element {
            Float::F32 => Dtype::F32,
            Float::F16 => Dtype::F16,
        }
    }

    /// The bytes of the ONNX file, which must still be what was checked.
    pub(crate) fn bytes(&self) -> Result<Vec<u8>> {
        let bytes = read(&self.file)?;
        parse(&self.file, &bytes)?;
        Ok(bytes)
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

fn unusable(path: &Path, reason: String) -> Error {
    Error::OnnxFile {
        path: path.to_owned(),
        reason,
    }
}
