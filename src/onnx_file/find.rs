//! Which file of a model directory is run.

use std::fs;
use std::path::{Component, Path, PathBuf};

use crate::config::OtherConfig;
use crate::error::{Error, Result};

/// The names under which ONNX files are published.
const USUAL: [&str; 2] = ["model.onnx", "onnx/model.onnx"];
const SAFETENSORS: [&str; 2] = ["model.safetensors", "model.safetensors.index.json"];

/// The ONNX file to bind, or none where the directory holds a checkpoint that this crate runs itself.
///
/// A file that is named is taken. Else safetensors of a Qwen3 model come first, then `model.onnx`,
/// then `onnx/model.onnx`, then the only other one.
pub(super) fn find(dir: &Path, named: Option<&Path>) -> Result<Option<PathBuf>> {
    if let Some(named) = named {
        return inside(dir, named).map(Some);
    }
    let is_file = |name: &&str| dir.join(name).is_file();
    let candidates = candidates(dir);
    if candidates.is_empty() || (SAFETENSORS.iter().any(&is_file) && is_qwen3(dir)?) {
        return Ok(None);
    }
    if let Some(usual) = USUAL.iter().find(|name| is_file(name)) {
        return Ok(Some(dir.join(usual)));
    }
    match candidates.as_slice() {
        [only] => Ok(Some(only.clone())),
        several => {
            let names = several
                .iter()
                .filter_map(|path| path.strip_prefix(dir).ok());
            let names: Vec<String> = names.map(|name| name.display().to_string()).collect();
            Err(Error::OnnxFile {
                path: dir.to_owned(),
                reason: format!("which of {} is meant has to be said", names.join(", ")),
            })
        }
    }
}

/// A file that a caller named, relative to the model's directory.
fn inside(dir: &Path, named: &Path) -> Result<PathBuf> {
    let plain = |part: Component<'_>| matches!(part, Component::Normal(_) | Component::CurDir);
    let path = dir.join(named);
    if !named.components().all(plain) {
        return Err(Error::Option {
            option: "onnx_file",
            expected: "a file in the model's directory, named without '..'".to_owned(),
            found: named.display().to_string(),
        });
    }
    match path.is_file() {
        true => Ok(path),
        false => Err(Error::MissingFile {
            path,
            expected: "the ONNX file that was asked for",
        }),
    }
}

/// All `.onnx` files at the root and in `onnx/`, by name.
fn candidates(dir: &Path) -> Vec<PathBuf> {
    let folders = [dir.to_owned(), dir.join("onnx")];
    let entries = folders
        .iter()
        .filter_map(|folder| fs::read_dir(folder).ok());
    let mut found: Vec<PathBuf> = entries
        .flat_map(|entries| entries.flatten().map(|entry| entry.path()))
        .filter(|path| path.extension().is_some_and(|end| end == "onnx") && path.is_file())
        .collect();
    found.sort();
    found
}

fn is_qwen3(dir: &Path) -> Result<bool> {
    Ok(OtherConfig::from_file(&dir.join("config.json"))?.is_qwen3())
}
