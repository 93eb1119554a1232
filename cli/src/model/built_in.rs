//! The demonstration model that the program carries: small, trained, in the released layout.

use std::fs;
use std::io;

use super::{Model, Source};
use crate::failure::Failure;
use crate::messages;

const NAME: &str = "built-in/tiny";

macro_rules! file {
    ($path:literal) => {
        (
            $path,
            include_bytes!(concat!("../../../models/tiny/", $path)),
        )
    };
}

const FILES: [(&str, &[u8]); 7] = [
    file!("config.json"),
    file!("model.safetensors"),
    file!("tokenizer.json"),
    file!("tokenizer_config.json"),
    file!("config_sentence_transformers.json"),
    file!("modules.json"),
    file!("1_Pooling/config.json"),
];

/// Writes the model into a temporary directory and says what it is.
pub(super) fn unpack() -> Result<Model, Failure> {
    messages::line(
        "note",
        "no model was given, so a small built-in one runs: English, short texts, a demonstration; \
         for the real one: --model Qwen/Qwen3-Embedding-0.6B",
    );
    write().map_err(|error| Failure::io("unpacking the built-in model", &error))
}

fn write() -> io::Result<Model> {
    let unpacked = tempfile::Builder::new().prefix("qwen3-embed-").tempdir()?;
    fs::create_dir(unpacked.path().join("1_Pooling"))?;
    for (path, bytes) in FILES {
        fs::write(unpacked.path().join(path), bytes)?;
    }
    Ok(Model {
        name: NAME.to_owned(),
        source: Source::Directory(unpacked.path().to_owned()),
        dir: unpacked.path().to_owned(),
        unpacked: Some(unpacked),
    })
}
