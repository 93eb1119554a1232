//! Which file runs, and where its data may lie.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use qwen3_embedding::{BackendChoice, Embedder, Error, OnnxModel, Precision};
use tempfile::TempDir;

use crate::onnx::*;
use crate::parity::layout;
use crate::support::*;

const DATA: &str = "onnx/model.onnx_data";

fn found(dir: &Path) -> Option<String> {
    let model = OnnxModel::find(dir, None, None).unwrap()?;
    Some(
        model
            .file()
            .strip_prefix(dir)
            .unwrap()
            .display()
            .to_string(),
    )
}

#[test]
fn a_qwen3_checkpoint_wins_then_the_usual_names_then_the_only_file() {
    let copy = copy_dir(&tiny());
    fs::copy(
        layout("bert-mean").join("model.onnx"),
        copy.path().join("model.onnx"),
    )
    .unwrap();
    assert_eq!(found(copy.path()), None);

    let copy = copy_dir(&layout("bert-mean"));
    fs::create_dir(copy.path().join("onnx")).unwrap();
    fs::write(copy.path().join("model.safetensors"), "not read").unwrap();
    let root = copy.path().join("model.onnx");
    fs::copy(&root, copy.path().join("onnx/model.onnx")).unwrap();
    fs::copy(&root, copy.path().join("onnx/model_other.onnx")).unwrap();
    assert_eq!(found(copy.path()).unwrap(), "model.onnx");
    fs::remove_file(&root).unwrap();
    assert_eq!(found(copy.path()).unwrap(), "onnx/model.onnx");
    fs::copy(
        copy.path().join("onnx/model.onnx"),
        copy.path().join("onnx/third.onnx"),
    )
    .unwrap();
    fs::remove_file(copy.path().join("onnx/model.onnx")).unwrap();
    let error = OnnxModel::find(copy.path(), None, None)
        .unwrap_err()
        .to_string();
    assert!(
        error.ends_with("which of onnx/model_other.onnx, onnx/third.onnx is meant has to be said"),
        "{error}"
    );
    let named = OnnxModel::find(copy.path(), Some("onnx/third.onnx".as_ref()), None);
    assert!(named.unwrap().unwrap().file().ends_with("onnx/third.onnx"));
    fs::remove_file(copy.path().join("onnx/third.onnx")).unwrap();
    assert_eq!(found(copy.path()).unwrap(), "onnx/model_other.onnx");
    let missing = OnnxModel::find(copy.path(), Some("onnx/fourth.onnx".as_ref()), None);
    assert!(matches!(missing.unwrap_err(), Error::MissingFile { .. }));
}

/// The Gemma fixture with one more tensor, which holds all bytes of the file `location`.
fn located(location: &str) -> TempDir {
    let copy = copy_dir(&layout("gemma"));
    let path = copy.path().join("onnx/model.onnx");
    let size = fs::metadata(copy.path().join(DATA)).unwrap().len();
    let entry = |key: &str, value: &str| field(13, [field(1, key), field(2, value)].concat());
    let tensor = [
        number(1, size),
        number(2, 2),
        field(8, "all"),
        entry("location", location),
        number(14, 1),
    ];
    let file = fs::read(&path).unwrap();
    // The first byte of its kind: the tag of the graph.
    let tag = file.iter().position(|&byte| byte == 0x3a).unwrap();
    let (length, start) = length_at(&file, tag + 1);
    let graph = [
        field(5, tensor.concat()),
        file[start..start + length].to_vec(),
    ]
    .concat();
    let file = [&file[..tag], &field(7, graph), &file[start + length..]].concat();
    fs::write(&path, file).unwrap();
    copy
}

/// The length written at `at`, and where what it is the length of begins.
fn length_at(bytes: &[u8], at: usize) -> (usize, usize) {
    let end = at
        + bytes[at..]
            .iter()
            .position(|byte| byte & 0x80 == 0)
            .unwrap();
    let digits = bytes[at..=end].iter().rev();
    let length = digits.fold(0, |length, byte| length << 7 | usize::from(byte & 0x7f));
    (length, end + 1)
}

fn refused(dir: &Path) -> String {
    let error = Embedder::from_dir(dir).build().err().unwrap();
    assert!(matches!(error, Error::OnnxExternalData { .. }), "{error:?}");
    let path = format!("{}: ", dir.join("onnx/model.onnx").display());
    error.to_string().replace(&path, "")
}

#[test]
fn external_data_is_loaded_from_beside_the_file() {
    let copy = located("./model.onnx_data");
    let model = OnnxModel::find(copy.path(), None, None).unwrap().unwrap();
    assert!(!model.data_files().is_empty());
    let mut embedder = open(copy.path(), BackendChoice::Onnx, Precision::F32);
    let golden = &goldens(&layout("gemma"))[0];
    let row = embed_ids(&mut embedder, std::slice::from_ref(&golden.ids));
    assert!(cosine(row.data(), &golden.hidden) >= 0.99999);
}

#[test]
fn external_data_elsewhere_is_refused() {
    let outside = "expected a file beside the ONNX file, named without '..'";
    for location in ["../config.json", "/etc/hostname", "a/../../config.json", ""] {
        let copy = located(location);
        assert_eq!(
            refused(copy.path()),
            format!("tensor \"all\" lies in {location:?}: {outside}")
        );
    }
    let copy = located("missing");
    assert!(refused(copy.path()).contains("No such file"));
    let copy = located("folder");
    fs::create_dir(copy.path().join("onnx/folder")).unwrap();
    assert!(refused(copy.path()).ends_with("expected a regular file"));
}

#[test]
fn external_data_behind_a_link_must_stay_inside() {
    let copy = located("link");
    let other = TempDir::new().unwrap();
    let target = other.path().join("data");
    fs::copy(copy.path().join(DATA), &target).unwrap();
    let link = copy.path().join("onnx/link");
    symlink(&target, &link).unwrap();
    assert_eq!(
        refused(copy.path()),
        "tensor \"all\" lies in \"link\": it is a link that leads out of the model's directory"
    );
    fs::remove_file(&link).unwrap();
    symlink("model.onnx_data", &link).unwrap();
    assert!(Embedder::from_dir(copy.path()).build().is_ok());
}

#[test]
fn external_data_that_is_too_short_is_refused() {
    let copy = located("model.onnx_data");
    let path = copy.path().join(DATA);
    let data = fs::read(&path).unwrap();
    fs::write(&path, &data[..data.len() - 1]).unwrap();
    let expected = format!(
        "expected {} bytes from 0 on, and it has {}",
        data.len(),
        data.len() - 1
    );
    assert!(refused(copy.path()).ends_with(&expected));
}

#[test]
fn a_snapshot_of_a_hub_cache_is_links_into_its_blobs() {
    let cache = TempDir::new().unwrap();
    let model = cache.path().join("models--a--gemma");
    let snapshot = model.join("snapshots/1f2e");
    let copy = copy_dir(&layout("gemma"));
    fs::create_dir_all(model.join("snapshots")).unwrap();
    fs::create_dir(model.join("blobs")).unwrap();
    fs::rename(copy.path(), &snapshot).unwrap();
    for (number, name) in ["onnx/model.onnx", DATA].iter().enumerate() {
        fs::rename(snapshot.join(name), model.join(format!("blobs/{number}"))).unwrap();
        symlink(format!("../../../blobs/{number}"), snapshot.join(name)).unwrap();
    }
    let mut embedder = open(&snapshot, BackendChoice::Onnx, Precision::F32);
    let golden = &goldens(&layout("gemma"))[0];
    let row = embed_ids(&mut embedder, std::slice::from_ref(&golden.ids));
    assert!(cosine(row.data(), &golden.hidden) >= 0.99999);
}
