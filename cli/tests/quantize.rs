//! `quantize`: what it writes is read again, and says how far it is from the original.
#![cfg(feature = "mlx")]
#![allow(clippy::unwrap_used)]

mod support;

use std::fs;
use std::path::Path;

use serde_json::Value;
use support::{on_tiny, run, tiny};
use tempfile::TempDir;

fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn quantize(dir: &TempDir, args: &[&str]) -> Value {
    let out = dir.path().join("out");
    let args = [
        &["quantize", "--format", "json", out.to_str().unwrap()],
        args,
    ]
    .concat();
    on_tiny(&args).json()
}

#[test]
fn eight_bits_are_close_and_the_directory_is_a_model() {
    let dir = TempDir::new().unwrap();
    let report = quantize(&dir, &["--bits", "8"]);
    assert_eq!(report["packing"], "affine-8bit-g64");
    assert_eq!(report["cosine"]["texts"], 20);
    // 8 bits, and two scales of 16 bits for 64 weights.
    let [before, after] = ["weight_bytes_before", "weight_bytes"].map(|key| report[key].as_f64());
    let ratio = after.unwrap() / before.unwrap();
    assert!((ratio - 8.5 / 16.0).abs() < 0.002, "{ratio}");
    let least = report["cosine"]["least"].as_f64().unwrap();
    // Scales have the checkpoint's own 16 bits, with mlx-lm too, so 8 bits are not finer than this.
    assert!(least > 0.998, "{least}");

    let out = dir.path().join("out");
    assert_eq!(
        names(&out),
        [
            "1_Pooling",
            "config.json",
            "config_sentence_transformers.json",
            "model.safetensors",
            "modules.json",
            "tokenizer.json",
            "tokenizer_config.json",
        ]
    );
    let model = ["--model", out.to_str().unwrap(), "--device", "cpu"];
    let info = run(&[&["info", "--format", "json"], &model[..]].concat()).json();
    assert_eq!(info["architecture"]["weight_precision"], "affine-8bit-g64");
    let reason = run(&[&["embed", "x"], &model[..]].concat()).json()["backend"]["reason"].clone();
    assert!(
        reason.as_str().unwrap().contains("affine-8bit-g64 weights"),
        "{reason}"
    );
}

#[test]
fn fewer_bits_are_further_away_and_every_mode_is_written() {
    let mut before = 1.0;
    for (args, packing, least) in [
        (
            &["--bits", "6", "--group-size", "32"][..],
            "affine-6bit-g32",
            0.99,
        ),
        (
            &["--bits", "3", "--group-size", "32"],
            "affine-3bit-g32",
            0.5,
        ),
    ] {
        let dir = TempDir::new().unwrap();
        let report = quantize(&dir, args);
        assert_eq!(report["packing"], packing);
        let cosine = report["cosine"]["mean"].as_f64().unwrap();
        assert!(cosine > least && cosine < before, "{packing}: {cosine}");
        before = cosine;
    }
    for mode in ["mxfp4", "mxfp8", "nvfp4"] {
        let dir = TempDir::new().unwrap();
        let report = quantize(&dir, &["--mode", mode]);
        assert_eq!(report["packing"], mode);
        assert!(report["cosine"]["mean"].as_f64().unwrap() > 0.9, "{report}");
    }
}

#[test]
fn an_existing_directory_is_left_alone() {
    let dir = TempDir::new().unwrap();
    let out = dir.path().join("out");
    fs::create_dir(&out).unwrap();
    let outcome = on_tiny(&["quantize", out.to_str().unwrap()]);
    assert_eq!(outcome.code, 1);
    let expected = format!(
        "error: output: expected the name of a directory that does not exist, found {}\n",
        out.display()
    );
    assert_eq!(outcome.stderr, expected);
    assert_eq!(names(dir.path()), ["out"]);
    assert!(names(&out).is_empty());
}

#[test]
fn nothing_is_left_of_a_run_that_failed() {
    let dir = TempDir::new().unwrap();
    let broken = dir.path().join("broken");
    fs::create_dir(&broken).unwrap();
    for name in ["config.json", "model.safetensors"] {
        fs::copy(tiny().join(name), broken.join(name)).unwrap();
    }
    // A folder where a file is expected cannot be copied.
    fs::create_dir(broken.join("tokenizer.json")).unwrap();
    let out = dir.path().join("out");
    let outcome = run(&[
        "quantize",
        "--model",
        broken.to_str().unwrap(),
        out.to_str().unwrap(),
    ]);
    assert_eq!(outcome.code, 1, "{}", outcome.stderr);
    assert!(
        outcome.stderr.contains("tokenizer.json"),
        "{}",
        outcome.stderr
    );
    assert_eq!(names(dir.path()), ["broken"]);
}

#[test]
fn what_cannot_be_packed_is_refused() {
    let dir = TempDir::new().unwrap();
    let out = dir.path().join("out");
    let out = out.to_str().unwrap();
    let usage = on_tiny(&["quantize", "--mode", "nvfp4", "--bits", "8", out]);
    assert_eq!(usage.code, 2);
    let message = "'--mode nvfp4' cannot be used with 8 bits in groups of 16";
    assert!(usage.stderr.contains(message), "{}", usage.stderr);

    quantize(&dir, &[]);
    let again = dir.path().join("again");
    let twice = run(&["quantize", "--model", out, again.to_str().unwrap()]);
    assert_eq!(
        twice.stderr,
        "error: model: expected a checkpoint that is not quantised, found affine-4bit-g64\n"
    );
    assert_eq!(names(dir.path()), ["out"]);
}
