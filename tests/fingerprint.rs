//! The fingerprint of a vector space: the same wherever the same vectors come from, another as
//! soon as a field differs.
#![cfg(any(feature = "mlx", feature = "onnx"))]
#![allow(clippy::unwrap_used)]

mod support;

use std::fs;
use std::path::Path;

use qwen3_embedding::{EmbedOptions, Precision, Space};
use serde_json::Value;
use support::*;

fn space(dir: &Path) -> Space {
    let embedder = open(dir, BACKENDS[0], Precision::F32);
    embedder.space(&EmbedOptions::default()).unwrap()
}

fn edit_json(path: &Path, edit: impl FnOnce(&mut Value)) {
    let mut value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    edit(&mut value);
    fs::write(path, value.to_string()).unwrap();
}

/// The space of a copy of the built-in model after `edit`.
fn edited(edit: impl FnOnce(&Path)) -> Space {
    let copy = copy_dir(&tiny());
    edit(copy.path());
    space(copy.path())
}

#[test]
fn a_space_does_not_depend_on_the_directory_the_shards_or_the_backend() {
    let here = space(&tiny());
    assert_eq!(edited(|_| ()), here);
    for &backend in BACKENDS {
        let embedder = open(&tiny(), backend, Precision::F32);
        assert_eq!(embedder.space(&EmbedOptions::default()).unwrap(), here);
    }
    // A key of the configuration that changes no vector.
    let described = edited(|dir| {
        edit_json(&dir.join("config.json"), |c| {
            c["transformers_version"] = "0".into()
        });
    });
    assert_eq!(described, here);
}

#[test]
fn the_space_says_what_the_model_directory_holds() {
    let space = space(&tiny());
    assert_eq!(space.model, "local");
    let digits = space.revision.strip_prefix("content:").unwrap();
    assert!(digits.len() == 64 && digits.bytes().all(|b| b.is_ascii_hexdigit()));
    assert_eq!(space.pooling, "last-token");
    assert_eq!(space.precision, "float");
    let embedder = open(&tiny(), BACKENDS[0], Precision::F32);
    assert_eq!(space.eos, format!("append:{}", embedder.eos_token_id()));
    assert_eq!(space.dimensions, embedder.config().hidden_size());
}

#[test]
fn weights_numbers_of_the_configuration_prompts_and_tokenizer_each_make_another_space() {
    let here = space(&tiny());
    let weights = edited(|dir| {
        edit_weights(dir, |name, values| {
            if name == "layers.1.mlp.up_proj.weight" {
                values.iter_mut().for_each(|value| *value *= 2.0);
            }
        });
    });
    // The rewriting itself, bf16 to f32, is another content too: compare with that.
    let rewritten = edited(|dir| edit_weights(dir, |_, _| ()));
    assert_ne!(weights.revision, rewritten.revision);
    let theta = edited(|dir| {
        edit_json(&dir.join("config.json"), |c| {
            let old = c.as_object_mut().unwrap();
            match old.get_mut("rope_parameters") {
                Some(parameters) => parameters["rope_theta"] = 5e5.into(),
                None => c["rope_theta"] = 5e5.into(),
            }
        });
    });
    let prompts = edited(|dir| {
        let path = dir.join("config_sentence_transformers.json");
        edit_json(&path, |c| c["prompts"]["document"] = "passage: ".into());
    });
    let tokenizer = edited(|dir| {
        edit_json(&dir.join("tokenizer.json"), |_| ());
    });
    assert_ne!(theta.revision, here.revision);
    assert_ne!(prompts.prompt, here.prompt);
    assert_ne!(tokenizer.tokenizer, here.tokenizer);
    for other in [weights, theta, prompts, tokenizer] {
        assert_ne!(other.fingerprint(), here.fingerprint());
    }
}

#[test]
fn the_dimensions_of_the_options_are_the_spaces() {
    let embedder = open(&tiny(), BACKENDS[0], Precision::F32);
    let whole = embedder.space(&EmbedOptions::default()).unwrap();
    let cut = embedder
        .space(&EmbedOptions::default().dimensions(8))
        .unwrap();
    assert_eq!(cut, whole.clone().cut(8));
    assert_ne!(cut.fingerprint(), whole.fingerprint());
    let error = embedder.space(&EmbedOptions::default().dimensions(0));
    assert!(error.unwrap_err().to_string().starts_with("dimensions: "));
}
