//! What the tests share: the program, the models, numbers.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::panic,
    reason = "each test file uses its own part"
)]

#[cfg(feature = "serve")]
pub mod server;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

/// What the built-in model says of itself, and the only thing it may say.
pub const NOTE: &str = "note: no model was given, so a small built-in one runs: English, short texts, \
     a demonstration; for the real one: --model Qwen/Qwen3-Embedding-0.6B\n";

/// How a run of the program ended.
#[derive(Debug)]
pub struct Outcome {
    pub code: i32,
    pub stdout: Vec<u8>,
    pub stderr: String,
}

impl Outcome {
    /// Standard output of a run that must have succeeded.
    pub fn stdout(&self) -> &str {
        assert_eq!(self.code, 0, "{}", self.stderr);
        std::str::from_utf8(&self.stdout).unwrap()
    }

    /// The one JSON value on standard output.
    pub fn json(&self) -> Value {
        serde_json::from_str(self.stdout()).unwrap()
    }
}

/// The program, free of the caller's settings.
pub fn program() -> Command {
    let mut program = Command::new(env!("CARGO_BIN_EXE_qwen3-embed"));
    program
        .env_remove("QWEN3_EMBED_MODEL")
        .env_remove("QWEN3_EMBED_LOG")
        .env_remove("ORT_DISABLE_TELEMETRY")
        .stdin(Stdio::null());
    program
}

pub fn run(args: &[&str]) -> Outcome {
    finish(program().args(args))
}

pub fn finish(program: &mut Command) -> Outcome {
    let output = program.output().unwrap();
    Outcome {
        code: output.status.code().unwrap(),
        stdout: output.stdout,
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// A run that finds `input` on stdin.
pub fn run_on(input: &[u8], args: &[&str]) -> Outcome {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(input).unwrap();
    std::io::Seek::rewind(&mut file).unwrap();
    finish(program().args(args).stdin(file))
}

/// `models/tiny`, which is also the built-in model.
pub fn tiny() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/tiny")
}

/// The arguments, followed by the tiny model's directory and the CPU, whose vectors are f32.
pub fn on_tiny(args: &[&str]) -> Outcome {
    let tiny = tiny();
    let model = ["--model", tiny.to_str().unwrap(), "--device", "cpu"];
    run(&[args, &model].concat())
}

/// A JSON array of numbers, each the f32 that its text reads as.
pub fn numbers(value: &Value) -> Vec<f32> {
    serde_json::from_value(value.clone()).unwrap()
}

/// Shape and elements of a NumPy 1.0 file of float32 in C order.
pub fn npy(bytes: &[u8]) -> ([usize; 2], Vec<f32>) {
    assert_eq!(&bytes[..8], b"\x93NUMPY\x01\x00");
    let data = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    assert_eq!(data % 64, 0);
    let header = std::str::from_utf8(&bytes[10..data]).unwrap();
    let shape = header
        .strip_prefix("{'descr': '<f4', 'fortran_order': False, 'shape': (")
        .unwrap();
    let (shape, rest) = shape.split_once("), }").unwrap();
    assert_eq!(rest.trim_matches(' '), "\n");
    let (rows, columns) = shape.split_once(", ").unwrap();
    let elements = bytes[data..].chunks_exact(4);
    assert!(elements.remainder().is_empty());
    let elements = elements.map(|element| f32::from_le_bytes(element.try_into().unwrap()));
    (
        [rows.parse().unwrap(), columns.parse().unwrap()],
        elements.collect(),
    )
}
