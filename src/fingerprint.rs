//! The identity of a vector space: what must agree before two vectors may be compared.

use std::fmt;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::checkpoint::Checkpoint;
use crate::config::ModelConfig;
use crate::dtype::Dtype;
use crate::error::{Error, Result};
use crate::file;
use crate::model::EmbeddingConfig;
use crate::onnx_file::OnnxModel;
use crate::tokenizer::Tokenizer;

/// Changes when the meaning of a field, or their encoding, does.
const VERSION: &str = "qwen3-embedding space 1";

/// Everything that decides which space a model's vectors lie in.
///
/// Vectors of two spaces that differ in any field must not share an index. Batch size, device,
/// padding and the instruction of a single query are not here: they do not change the space.
/// Nor is normalisation, which changes a vector's length and not its direction.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Space {
    /// The model's id on its hub; `local` for a directory, whose name says nothing about it.
    pub model: String,
    /// The commit on the hub; for a directory `content:` and a hash of what it computes: sizes and
    /// weights of a checkpoint, or an ONNX file and the data beside it.
    pub revision: String,
    /// SHA-256 of `tokenizer.json`, hexadecimal.
    pub tokenizer: String,
    /// What the model puts before a document and before a query, as a JSON array of the two.
    pub prompt: String,
    /// How a sequence becomes one row: `last-token`, `cls`, `mean` or `graph`.
    pub pooling: String,
    /// How a sequence ends: `append:` and the token's id. Where a model's tokenizer puts several
    /// special tokens round a text, `before:` and `after:` with their ids.
    pub eos: String,
    /// Elements of a vector.
    pub dimensions: usize,
    /// `float` for f32, bf16 and f16 weights, whose vectors agree to a cosine of 0.999; `int8`; for a
    /// checkpoint with quantised weights their packing, such as `affine-4bit-g64`, several joined by
    /// `+`, whatever the backend holds them in, then ` int8` where that is int8; for an ONNX file
    /// `onnx` and the type of most of its weights.
    pub precision: String,
}

impl Space {
    /// This space with vectors cut to their first `dimensions` elements.
    #[must_use]
    pub fn cut(mut self, dimensions: usize) -> Self {
        self.dimensions = dimensions;
        self
    }

    /// One short name for all fields: SHA-256 over `name length\nvalue\n` for each, the length in
    /// bytes, in the order `version`, `model`, `revision`, `tokenizer`, `prompt`, `pooling`, `eos`,
    /// `dimensions`, `precision`; the version is `qwen3-embedding space 1`.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        let mut hash = Sha256::new();
        let mut field = |name: &str, value: &str| {
            hash.update(format!("{name} {}\n{value}\n", value.len()));
        };
        field("version", VERSION);
        field("model", &self.model);
        field("revision", &self.revision);
        field("tokenizer", &self.tokenizer);
        field("prompt", &self.prompt);
        field("pooling", &self.pooling);
        field("eos", &self.eos);
        field("dimensions", &self.dimensions.to_string());
        field("precision", &self.precision);
        Fingerprint(hash.finalize().into())
    }
}

/// The short name of a [`Space`]; a database stores it beside a collection. Its text form is 64
/// hexadecimal digits, the same on every machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 32]);

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// What a space is told from.
pub(crate) struct Parts<'a> {
    pub(crate) dir: &'a Path,
    /// The id and commit of a model from a hub.
    pub(crate) hub: Option<(String, String)>,
    pub(crate) config: &'a EmbeddingConfig,
    pub(crate) tokenizer: &'a Tokenizer,
    pub(crate) weights: WeightIdentity,
}

/// What a model's weights are and how exactly they are computed with.
pub(crate) struct WeightIdentity {
    content: String,
    precision: String,
}

/// The space of a loaded model.
pub(crate) fn space(parts: Parts<'_>) -> Result<Space> {
    let (model, revision) = match parts.hub {
        Some(named) => named,
        None => {
            let content = parts.weights.content;
            ("local".to_owned(), format!("content:{content}"))
        }
    };
    Ok(Space {
        model,
        revision,
        tokenizer: hash_of_file(&parts.dir.join("tokenizer.json"))?,
        prompt: parts.tokenizer.prompts_of_space()?,
        pooling: parts.config.pooling().name().to_owned(),
        eos: parts.tokenizer.frame_of_space(),
        dimensions: parts.config.hidden_size(),
        precision: parts.weights.precision,
    })
}

/// Of a checkpoint: the numbers of the configuration that are in no tensor's shape, then every
/// tensor by name, however the files are cut into shards.
pub(crate) fn of_checkpoint(
    config: &ModelConfig,
    checkpoint: &Checkpoint,
    precision: Dtype,
) -> Result<WeightIdentity> {
    let mut hash = Sha256::new();
    hash.update(format!(
        "{} {} {} {}\n",
        config.num_attention_heads(),
        config.num_key_value_heads(),
        config.rope_theta(),
        config.rms_norm_eps(),
    ));
    checkpoint.sample(&mut |bytes| hash.update(bytes))?;
    Ok(WeightIdentity {
        content: Fingerprint(hash.finalize().into()).to_string(),
        precision: match (checkpoint.quantization(), precision) {
            (None, Dtype::Int8) => "int8".to_owned(),
            (None, _) => "float".to_owned(),
            (Some(packed), Dtype::Int8) => format!("{packed} int8"),
            (Some(packed), _) => packed,
        },
    })
}

/// Of an ONNX file: all of it, and samples of the files beside it.
pub(crate) fn of_onnx(model: &OnnxModel) -> Result<WeightIdentity> {
    let mut hash = Sha256::new();
    hash.update(Sha256::digest(model.bytes()?));
    for path in model.data_files() {
        sample_file(path, &mut hash).map_err(|source| io_error(path, source))?;
    }
    Ok(WeightIdentity {
        content: Fingerprint(hash.finalize().into()).to_string(),
        precision: format!("onnx {}", model.weight_type()),
    })
}

/// The length of a file, and the beginning of each of its blocks: hashing gigabytes would take
/// longer than a load may.
fn sample_file(path: &Path, hash: &mut Sha256) -> io::Result<()> {
    const BLOCK: u64 = 64 << 10;
    const SAMPLE: u64 = 4 << 10;
    let (mut file, len) = file::open(path)?;
    hash.update(format!("{len}\n"));
    let mut sample = Vec::new();
    for begin in (0..len).step_by(BLOCK as usize) {
        sample.clear();
        file.seek(SeekFrom::Start(begin))?;
        file.by_ref().take(SAMPLE).read_to_end(&mut sample)?;
        hash.update(&sample);
    }
    Ok(())
}

fn hash_of_file(path: &Path) -> Result<String> {
    let (mut file, _) = file::open(path).map_err(|source| io_error(path, source))?;
    let mut content = Vec::new();
    file.read_to_end(&mut content)
        .map_err(|source| io_error(path, source))?;
    Ok(Fingerprint(Sha256::digest(&content).into()).to_string())
}

fn io_error(path: &Path, source: io::Error) -> Error {
    Error::Io {
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn released() -> Space {
        Space {
            model: "Qwen/Qwen3-Embedding-0.6B".to_owned(),
            revision: "c54f2e6e80b2d7b7de06f51cec4959f6b3e03418".to_owned(),
            tokenizer: "ab".repeat(32),
            prompt: r#"["","Instruct: x\nQuery:"]"#.to_owned(),
            pooling: "last-token".to_owned(),
            eos: "append:151643".to_owned(),
            dimensions: 1024,
            precision: "float".to_owned(),
        }
    }

    #[test]
    fn every_field_makes_another_fingerprint() {
        let change = |edit: fn(&mut Space)| {
            let mut space = released();
            edit(&mut space);
            space.fingerprint()
        };
        let fingerprints = [
            change(|_| ()),
            change(|space| space.model.push('x')),
            change(|space| space.revision.push('x')),
            change(|space| space.tokenizer.push('x')),
            change(|space| space.prompt.push('x')),
            change(|space| space.pooling = "mean".to_owned()),
            change(|space| space.eos = "append:151645".to_owned()),
            change(|space| space.dimensions = 1023),
            change(|space| space.precision = "int8".to_owned()),
        ];
        let different: HashSet<Fingerprint> = fingerprints.into_iter().collect();
        assert_eq!(different.len(), fingerprints.len());
    }

    #[test]
    fn text_moved_from_one_field_to_the_next_makes_another_fingerprint() {
        let mut moved = released();
        moved.pooling = String::new();
        moved.prompt.push_str("\npooling 10\nlast-token");
        assert_ne!(moved.fingerprint(), released().fingerprint());
    }

    #[test]
    fn a_fingerprint_is_the_same_on_every_machine() {
        // From Python's hashlib over the documented text.
        assert_eq!(
            released().fingerprint().to_string(),
            "c79afb070ae4492aba6ab28914e9f7d80e1d02ba209d32eeacca6addca57ed25"
        );
    }
}
