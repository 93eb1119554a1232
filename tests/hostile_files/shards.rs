//! `model.safetensors.index.json` and the shards it names.

use std::fs;

use qwen3_embedding::Checkpoint;
use tempfile::TempDir;

use crate::support::{
    DATA, TENSORS, config, dir, edit, file, header, header_of, refusal, refusal_of,
};

const INDEX: &str = "model.safetensors.index.json";
const A: &str = "model-00001-of-00002.safetensors";
const B: &str = "model-00002-of-00002.safetensors";

/// An index that puts the first two tensors in `A` and all others in `B`.
fn index() -> String {
    let entries = TENSORS
        .iter()
        .enumerate()
        .map(|(n, (name, _))| format!(r#""{name}":"{}""#, if n < 2 { A } else { B }));
    format!(
        r#"{{"metadata":{{"total_size":{DATA}}},"weight_map":{{{}}}}}"#,
        entries.collect::<Vec<_>>().join(",")
    )
}

fn shards() -> (Vec<u8>, Vec<u8>) {
    let (a, b) = TENSORS.split_at(2);
    (file(&header_of(a), 272), file(&header_of(b), DATA - 272))
}

fn sharded(index: &str) -> TempDir {
    let (a, b) = shards();
    dir(&[(INDEX, index.as_bytes()), (A, &a), (B, &b)])
}

/// What both shards with this index are refused with.
fn index_refusal(index: &str) -> String {
    refusal_of(&sharded(index))
}

#[test]
fn shards_are_one_checkpoint() {
    let checkpoint = Checkpoint::open(sharded(&index()).path(), &config()).unwrap();
    assert_eq!(checkpoint.weight_bytes(), DATA as u64);
    for (name, shape) in TENSORS {
        assert_eq!(checkpoint.tensor(name).unwrap().shape(), shape);
    }
}

#[test]
fn a_single_file_wins_over_an_index() {
    let single = file(&header(), DATA);
    let dir = dir(&[(INDEX, b"not even JSON"), ("model.safetensors", &single)]);
    assert!(Checkpoint::open(dir.path(), &config()).is_ok());
}

#[test]
fn neither_file_nor_index() {
    assert_eq!(
        refusal(&[]),
        "DIR/model.safetensors: not found; expected the weights (or model.safetensors.index.json and its shards)"
    );
}

#[test]
fn a_folder_in_the_place_of_a_file() {
    let dir = dir(&[]);
    fs::create_dir(dir.path().join("model.safetensors")).unwrap();
    assert_eq!(
        refusal_of(&dir),
        "DIR/model.safetensors: expected a regular file"
    );
}

#[test]
fn shard_escapes() {
    for (name, shown) in [
        ("../x", "../x"),
        ("/x", "/x"),
        ("a/b", "a/b"),
        ("", ""),
        (".", "."),
        ("..", ".."),
        (r"a\\b", r"a\\b"),
        (r"C:\\x", r"C:\\x"),
        ("C:x", "C:x"),
        (r"a\u0000b", r"a\\u{0}b"),
    ] {
        let index = edit(
            &index(),
            &format!(r#""norm.weight":"{A}""#),
            &format!(r#""norm.weight":"{name}""#),
        );
        assert_eq!(
            index_refusal(&index),
            format!(r#"DIR/{INDEX}: expected a file name in the model directory, found "{shown}""#)
        );
    }
}

#[test]
fn shard_missing() {
    let index = edit(
        &index(),
        &format!(r#""norm.weight":"{A}""#),
        r#""norm.weight":"c.safetensors""#,
    );
    assert_eq!(
        index_refusal(&index),
        format!("DIR/{INDEX}: shard c.safetensors is missing")
    );
}

#[test]
fn tensor_in_another_shard_than_indexed() {
    let index = edit(
        &index(),
        &format!(r#""norm.weight":"{A}""#),
        &format!(r#""norm.weight":"{B}""#),
    );
    assert_eq!(
        index_refusal(&index),
        format!("DIR/{INDEX}: tensor norm.weight: expected in {B}, found in {A}")
    );
}

#[test]
fn tensor_only_in_the_index() {
    let index = edit(
        &index(),
        r#""norm.weight""#,
        &format!(r#""ghost":"{A}","norm.weight""#),
    );
    assert_eq!(
        index_refusal(&index),
        format!("DIR/{INDEX}: tensor ghost: expected in {A}, found in no shard")
    );
}

#[test]
fn tensor_not_in_the_index() {
    let index = edit(&index(), &format!(r#""norm.weight":"{A}","#), "");
    assert_eq!(
        index_refusal(&index),
        format!("DIR/{INDEX}: tensor norm.weight: expected in no shard, found in {A}")
    );
}

#[test]
fn tensor_in_two_shards() {
    let (a, _) = shards();
    let all = file(&header(), DATA);
    assert_eq!(
        refusal(&[(INDEX, index().as_bytes()), (A, &a), (B, &all)]),
        format!("DIR/{B}: tensor norm.weight occurs twice (also in DIR/{A})")
    );
}

#[test]
fn prefixed_in_one_shard_and_bare_in_another() {
    let (a, _) = shards();
    let prefixed = edit(&header(), r#""norm.weight""#, r#""model.norm.weight""#);
    assert_eq!(
        refusal(&[
            (INDEX, index().as_bytes()),
            (A, &a),
            (B, &file(&prefixed, DATA))
        ]),
        format!("DIR/{B}: tensor model.norm.weight occurs twice (also in DIR/{A})")
    );
}

#[test]
fn index_is_no_index() {
    for (index, reason) in [
        ("", "EOF while parsing a value at line 1 column 0"),
        ("[]", "expected an object, found []"),
        ("{}", "weight_map: expected an object, found nothing"),
        (
            r#"{"weight_map":[]}"#,
            "weight_map: expected an object, found []",
        ),
        (r#"{"weight_map":{"a":1}}"#, "a: expected a shard, found 1"),
        (
            r#"{"weight_map":{"a":"b","a":"c"}}"#,
            r#"duplicate key "a" at line 1 column 31"#,
        ),
        (
            r#"{"weight_map":{"a\n":"b"}}"#,
            r"expected a printable tensor name of at most 255 bytes, found a\n",
        ),
    ] {
        assert_eq!(index_refusal(index), format!("DIR/{INDEX}: {reason}"));
    }
}

#[test]
fn index_of_nothing() {
    assert_eq!(
        index_refusal(r#"{"weight_map":{}}"#),
        "DIR: tensor embed_tokens.weight is missing"
    );
}

#[cfg(unix)]
#[test]
fn a_hub_cache_links_its_files() {
    let (blobs, dir) = (sharded(&index()), TempDir::new().unwrap());
    for name in [INDEX, A, B] {
        std::os::unix::fs::symlink(blobs.path().join(name), dir.path().join(name)).unwrap();
    }
    assert!(Checkpoint::open(dir.path(), &config()).is_ok());
}
