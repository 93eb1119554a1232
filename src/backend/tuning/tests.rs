//! What was asked for stays; what is left open is measured once, and kept for the same model on the
//! same machine.
#![allow(clippy::panic, clippy::unwrap_used)]

use std::path::Path;

use super::*;
use crate::backend::BackendInfo;
use crate::config::ModelConfig;
use crate::dtype::Dtype;
use crate::error::Error;

const FOUND: Outcome = Outcome {
    threads: Some(3),
    batch_tokens: Some(2048),
};

fn asked(value: usize) -> Choice {
    Choice::new(Some(value), 0)
}

fn open() -> Choices {
    let threads = Choice::new(None, 4);
    Choices::new(DeviceKind::Cpu, Precision::Auto, Some(threads))
}

fn info(choices: Choices) -> BackendInfo {
    BackendInfo {
        backend: "onnx",
        device: DeviceKind::Cpu,
        execution_provider: None,
        device_name: String::new(),
        precision: Dtype::F32,
        choices,
        library_version: "1".to_owned(),
        library_path: "/lib".to_owned(),
        reason: String::new(),
        fallback: None,
    }
}

/// The configuration of the built-in model with other values in it.
fn config(layers: usize, intermediate: usize) -> ModelConfig {
    let tiny = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/tiny/config.json");
    let text = std::fs::read_to_string(tiny).unwrap();
    let mut json: serde_json::Value = serde_json::from_str(&text).unwrap();
    json["num_hidden_layers"] = layers.into();
    json["intermediate_size"] = intermediate.into();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config.json");
    std::fs::write(&path, json.to_string()).unwrap();
    ModelConfig::from_file(&path).unwrap()
}

/// Large enough to be measured.
fn large() -> ModelConfig {
    config(28, 3072)
}

fn tuner(dir: &Path, choices: Choices, config: &ModelConfig) -> Tuner {
    Tuner::new(&Tuning::KeptIn(dir.to_owned()), &info(choices), config)
}

fn unexpected() -> crate::error::Result<Outcome> {
    panic!("it was measured")
}

#[test]
fn a_first_start_measures_and_the_next_ones_do_not() {
    let dir = tempfile::tempdir().unwrap();
    let tuner = || tuner(dir.path(), open(), &large());
    assert_eq!(tuner().recall(open()), open());
    let first = tuner().decide(open(), || Ok(FOUND)).unwrap();
    let choices = |origin| Choices {
        threads: Some(Choice { value: 3, origin }),
        batch_tokens: Choice {
            value: 2048,
            origin,
        },
        precision: Origin::Default,
    };
    assert_eq!(first, choices(Origin::Measured));
    let second = tuner().decide(open(), unexpected).unwrap();
    assert_eq!(second, choices(Origin::Kept));
    assert_eq!(tuner().recall(open()), second);
}

#[test]
fn what_was_asked_for_wins_and_is_not_measured() {
    let dir = tempfile::tempdir().unwrap();
    let mut choices = open();
    choices.threads = Some(asked(7));
    let one = tuner(dir.path(), choices, &large());
    let decided = one.decide(choices, || Ok(FOUND)).unwrap();
    assert_eq!(decided.threads, Some(asked(7)));
    assert_eq!(decided.batch_tokens.value, 2048);
    choices.batch_tokens = asked(100);
    let both = tuner(dir.path(), choices, &large());
    assert_eq!(both.decide(choices, unexpected).unwrap(), choices);
    let precision = Choices::new(DeviceKind::Gpu, Precision::F16, None);
    assert_eq!(precision.precision, Origin::Asked);
    assert_eq!(precision.batch_tokens.value, 4096);
}

#[test]
fn another_model_or_other_threads_are_measured_anew() {
    let dir = tempfile::tempdir().unwrap();
    let first = tuner(dir.path(), open(), &large());
    first.decide(open(), || Ok(FOUND)).unwrap();
    let other = tuner(dir.path(), open(), &config(28, 2048));
    assert_eq!(other.recall(open()), open());
    let mut choices = open();
    choices.threads = Some(asked(3));
    let other = tuner(dir.path(), choices, &large());
    assert_eq!(other.recall(choices), choices);
    let f16 = BackendInfo {
        precision: Dtype::F16,
        ..info(open())
    };
    let kept = Tuning::KeptIn(dir.path().to_owned());
    let other = Tuner::new(&kept, &f16, &large());
    assert_eq!(other.recall(open()), open());
    let newer = BackendInfo {
        library_version: "2".to_owned(),
        ..info(open())
    };
    let other = Tuner::new(&kept, &newer, &large());
    assert_eq!(other.recall(open()), open());
}

#[test]
fn what_took_too_long_is_not_tried_again_unless_the_machine_was_busy() {
    let dir = tempfile::tempdir().unwrap();
    let tuner = |busy| {
        let mut tuner = tuner(dir.path(), open(), &large());
        tuner.busy = busy;
        tuner
    };
    let nothing = || Ok(Outcome::default());
    let half = Outcome {
        batch_tokens: None,
        ..FOUND
    };
    let decided = tuner(|| true).decide(open(), || Ok(half)).unwrap();
    assert_eq!(decided.threads.unwrap().value, 3);
    assert_eq!(tuner(|| false).recall(open()), open());
    assert_eq!(tuner(|| false).decide(open(), nothing).unwrap(), open());
    assert_eq!(tuner(|| true).decide(open(), unexpected).unwrap(), open());
}

#[test]
fn nothing_is_measured_where_it_is_off_or_cannot_be_kept_or_does_not_pay() {
    let dir = tempfile::tempdir().unwrap();
    let off = Tuner::new(&Tuning::Off, &info(open()), &large());
    assert_eq!(off.decide(open(), unexpected).unwrap(), open());
    let small = tuner(dir.path(), open(), &config(3, 512));
    assert_eq!(small.decide(open(), unexpected).unwrap(), open());
    // No directory can be made below a file.
    let file = tempfile::NamedTempFile::new().unwrap();
    let unwritable = tuner(&file.path().join("tuning"), open(), &large());
    assert_eq!(unwritable.decide(open(), unexpected).unwrap(), open());
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn a_failure_while_measuring_is_that_of_the_load_and_is_not_kept() {
    let dir = tempfile::tempdir().unwrap();
    let tuner = || tuner(dir.path(), open(), &large());
    let failed = tuner().decide(open(), || Err(Error::EmptyRequest));
    assert!(matches!(failed, Err(Error::EmptyRequest)));
    assert_eq!(tuner().recall(open()), open());
}
