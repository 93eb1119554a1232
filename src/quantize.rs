//! A checkpoint -> the same with quantised matrices, in the format of MLX's own tools.

mod layout;

use std::fs::{self, File};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use crate::backend::select;
use crate::checkpoint::{Checkpoint, Tensor};
use crate::config::ModelConfig;
use crate::error::{Error, Result};
use crate::json;
use crate::quantization::{Quantization, QuantizationMode};
use layout::{Layout, Part};

/// What a model directory may hold beside its weights and `config.json`.
const COPIED: [&str; 13] = [
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.json",
    "merges.txt",
    "added_tokens.json",
    "special_tokens_map.json",
    "chat_template.jinja",
    "generation_config.json",
    "config_sentence_transformers.json",
    "sentence_bert_config.json",
    "modules.json",
    "1_Pooling/config.json",
    "2_Normalize/config.json",
];

/// Quantises the checkpoint in `from` into the new directory `to`, which appears whole or not at
/// all: `model.safetensors`, `config.json` and copies of the tokenizer and of what else the model
/// declares. MLX's own tools load it too.
///
/// Every matrix is quantised, the embedding table included, but for those whose columns groups do
/// not divide; vectors keep their element type. Holds 64 MiB of a matrix at a time, and the scales
/// of one. `each` is told bytes read and bytes in all.
///
/// # Errors
/// `Option` if `to` exists, if the checkpoint is quantised already, or if groups divide no matrix;
/// `Io` where a file cannot be read or written; those of [`ModelConfig::from_file`] and
/// [`Checkpoint::open`]; `Backend` if MLX fails.
pub fn quantize(
    from: &Path,
    to: &Path,
    quantization: Quantization,
    each: &mut dyn FnMut(u64, u64),
) -> Result<()> {
    let config = ModelConfig::from_file(&from.join("config.json"))?;
    let checkpoint = Checkpoint::open(from, &config)?;
    if let Some(found) = checkpoint.quantization() {
        let expected = "a checkpoint that is not quantised".to_owned();
        return Err(option_error("model", expected, found));
    }
    let layout = Layout::of(&checkpoint, quantization)?;
    let partial = Partial::create(to)?;
    write_weights(&checkpoint, &layout, quantization, &partial.dir, each)?;
    write_config(from, quantization, &partial.dir)?;
    for name in COPIED {
        copy(&from.join(name), &partial.dir.join(name))?;
    }
    // What cannot be read back is not handed over.
    let config = ModelConfig::from_file(&partial.dir.join("config.json"))?;
    Checkpoint::open(&partial.dir, &config)?;
    partial.finish(to)
}

/// `model.safetensors`: the header, then each tensor at its place.
fn write_weights(
    checkpoint: &Checkpoint,
    layout: &Layout,
    quantization: Quantization,
    dir: &Path,
    each: &mut dyn FnMut(u64, u64),
) -> Result<()> {
    let path = dir.join("model.safetensors");
    let failed = |source| io_error(&path, source);
    let mut file = File::create(&path).map_err(failed)?;
    file.write_all(layout.header()).map_err(failed)?;
    let mut write = |place: u64, bytes: &[u8]| {
        file.seek(SeekFrom::Start(place)).map_err(failed)?;
        file.write_all(bytes).map_err(failed)
    };
    let (mut done, total) = (0, checkpoint.weight_bytes());
    for key in checkpoint.weights() {
        let tensor = checkpoint.tensor(key)?;
        match layout.is_packed(key) {
            true => pack(&tensor, quantization, &mut |part, offset, bytes| {
                write(layout.place(key, part) + offset, bytes)
            })?,
            false => {
                let mut offset = layout.place(key, Part::Weight);
                tensor.for_each_window(|window| {
                    write(offset, window)?;
                    offset += window.len() as u64;
                    Ok(())
                })?;
            }
        }
        done += tensor.byte_len() as u64;
        each(done, total);
    }
    file.sync_all().map_err(failed)
}

/// Gives `write` the parts of a quantised matrix: which, how far into it, and the bytes.
fn pack(
    tensor: &Tensor<'_>,
    quantization: Quantization,
    write: &mut impl FnMut(Part, u64, &[u8]) -> Result<()>,
) -> Result<()> {
    let mut offsets = [0; 3];
    select::pack(tensor, quantization, &mut |parts| {
        for ((part, offset), bytes) in Part::ALL.into_iter().zip(&mut offsets).zip(parts) {
            write(part, *offset, bytes)?;
            *offset += bytes.len() as u64;
        }
        Ok(())
    })
}

/// The source's `config.json` with the packing. There is no language head, which other tools
/// understand if it is said to be the embedding table.
fn write_config(from: &Path, quantization: Quantization, dir: &Path) -> Result<()> {
    let path = from.join("config.json");
    let text = json::read(&path, "the model's configuration")?;
    let mut config: Map<String, Value> = json::parse_object(&path, &text)?;
    let packing = json!({
        "group_size": quantization.group_size(),
        "bits": quantization.bits(),
        "mode": quantization.mode().name(),
    });
    config.insert("quantization".to_owned(), packing.clone());
    config.insert("quantization_config".to_owned(), packing);
    config.insert("tie_word_embeddings".to_owned(), json!(true));
    let path = dir.join("config.json");
    let text = format!("{:#}\n", Value::Object(config));
    fs::write(&path, text).map_err(|source| io_error(&path, source))
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    let failed = |source| io_error(from, source);
    if !from.try_exists().map_err(failed)? {
        return Ok(());
    }
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder).map_err(failed)?;
    }
    fs::copy(from, to).map_err(failed)?;
    Ok(())
}

/// A directory beside the one to be, removed unless it was finished.
struct Partial {
    dir: PathBuf,
}

impl Partial {
    fn create(to: &Path) -> Result<Self> {
        let exists = to.symlink_metadata().is_ok();
        let Some(name) = to.file_name().filter(|_| !exists) else {
            let expected = "the name of a directory that does not exist".to_owned();
            return Err(option_error("output", expected, to.display().to_string()));
        };
        let name = format!("{}.partial-{}", name.to_string_lossy(), std::process::id());
        let dir = to.with_file_name(name);
        fs::create_dir(&dir).map_err(|source| io_error(&dir, source))?;
        Ok(Self { dir })
    }

    fn finish(self, to: &Path) -> Result<()> {
        // Another may have made it meanwhile; renaming onto what is not empty fails.
        fs::rename(&self.dir, to).map_err(|source| io_error(to, source))
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // Gone if it was finished. There is nobody to tell of a failure.
        let _ = fs::remove_dir_all(&self.dir);
    }
}

fn option_error(option: &'static str, expected: String, found: String) -> Error {
    Error::Option {
        option,
        expected,
        found,
    }
}

fn io_error(path: &Path, source: io::Error) -> Error {
    Error::Io {
        path: path.to_owned(),
        source,
    }
}
