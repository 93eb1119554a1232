//! Where external data may lie: beside the ONNX file and nowhere else.

use std::io;
use std::path::{Component, Path, PathBuf};

use super::tensor::External;
use crate::error::{Error, Result};
use crate::file;
use crate::json;

/// Checks that each tensor's bytes are in a regular file below `folder`, the ONNX file's own, and
/// gives those files.
///
/// A symbolic link must lead to a file below `folder` too. Snapshots of a hub cache are links into
/// the `blobs` folder of the same model, so that counts as inside for them.
pub(super) fn check(onnx: &Path, folder: &Path, tensors: &[External]) -> Result<Vec<PathBuf>> {
    let mut files: Vec<(PathBuf, u64)> = Vec::new();
    for tensor in tensors {
        let refused = |reason: String| Error::OnnxExternalData {
            path: onnx.to_owned(),
            tensor: tensor.tensor.clone(),
            location: json::shorten(&tensor.location),
            reason,
        };
        let path = plain(folder, &tensor.location).map_err(refused)?;
        let len = match files.iter().find(|(known, _)| *known == path) {
            Some((_, len)) => *len,
            None => {
                let len = open_inside(folder, &path).map_err(refused)?;
                files.push((path, len));
                len
            }
        };
        let end = tensor.offset.checked_add(tensor.bytes);
        if end.is_none_or(|end| end > len) {
            let (from, bytes) = (tensor.offset, tensor.bytes);
            let reason = format!("expected {bytes} bytes from {from} on, and it has {len}");
            return Err(refused(reason));
        }
    }
    Ok(files.into_iter().map(|(path, _)| path).collect())
}

/// A relative path without `..`, from `folder`.
fn plain(folder: &Path, location: &str) -> Result<PathBuf, String> {
    let path = Path::new(location);
    let inside = |part: Component<'_>| matches!(part, Component::Normal(_) | Component::CurDir);
    let foreign = location.is_empty() || location.contains(['\\', '\0', ':']);
    match !foreign && path.components().all(inside) {
        true => Ok(folder.join(path)),
        false => Err("expected a file beside the ONNX file, named without '..'".to_owned()),
    }
}

/// The length of the file, which must lie inside after links are followed.
fn open_inside(folder: &Path, path: &Path) -> Result<u64, String> {
    let failed = |error: io::Error| error.to_string();
    let real = path.canonicalize().map_err(failed)?;
    let home = folder.canonicalize().map_err(failed)?;
    if !real.starts_with(&home) && !blobs(&home).is_some_and(|blobs| real.starts_with(blobs)) {
        return Err("it is a link that leads out of the model's directory".to_owned());
    }
    file::open(&real).map(|(_, len)| len).map_err(failed)
}

/// `models--x/blobs` for a folder within `models--x/snapshots/commit`.
fn blobs(home: &Path) -> Option<PathBuf> {
    let snapshots = home
        .ancestors()
        .find(|folder| folder.ends_with("snapshots"))?;
    let model = snapshots.parent()?;
    let is_cache = model.file_name()?.to_str()?.starts_with("models--");
    is_cache.then(|| model.join("blobs"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_relative_paths_are_taken() {
        let folder = Path::new("model");
        assert_eq!(
            plain(folder, "a/b.data").unwrap(),
            Path::new("model/a/b.data")
        );
        assert_eq!(plain(folder, "./b").unwrap(), Path::new("model/./b"));
        for location in [
            "",
            "..",
            "../b",
            "a/../../b",
            "/etc/passwd",
            "C:\\b",
            "a\\b",
            "file:b",
        ] {
            assert!(plain(folder, location).is_err(), "{location}");
        }
    }

    #[test]
    fn only_a_snapshot_of_a_hub_cache_has_blobs() {
        assert_eq!(
            blobs(Path::new("/c/models--a--b/snapshots/1f/onnx")).unwrap(),
            Path::new("/c/models--a--b/blobs")
        );
        assert_eq!(blobs(Path::new("/c/models--a--b/onnx")), None);
        assert_eq!(blobs(Path::new("/c/snapshots/1f")), None);
    }
}
