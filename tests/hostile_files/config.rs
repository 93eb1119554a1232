//! `config.json` as a file, and the keys that must or may be there.

use std::fs;
use std::path::Path;

use qwen3_embedding::{Dtype, ModelConfig};
use tempfile::TempDir;

use crate::support::{CONFIG, edit};

pub(crate) fn parse(text: &str) -> Result<ModelConfig, String> {
    ModelConfig::parse(Path::new("config.json"), text).map_err(|error| error.to_string())
}

pub(crate) fn refusal(text: &str) -> String {
    parse(text).unwrap_err()
}

/// What [`CONFIG`] with this one change is refused with.
pub(crate) fn spoiled(from: &str, to: &str) -> String {
    refusal(&edit(CONFIG, from, to))
}

const NEW_ROPE: &str = r#""rope_parameters": {"rope_theta": 1e6, "rope_type": "default"}"#;

#[test]
fn every_key_is_read() {
    let config = parse(CONFIG).unwrap();
    assert_eq!((config.hidden_size(), config.intermediate_size()), (8, 12));
    assert_eq!((config.num_hidden_layers(), config.head_dim()), (1, 4));
    assert_eq!(
        (config.num_attention_heads(), config.num_key_value_heads()),
        (4, 2)
    );
    assert_eq!((config.query_size(), config.key_value_size()), (16, 8));
    assert_eq!(
        (config.vocab_size(), config.max_position_embeddings()),
        (16, 64)
    );
    assert_eq!((config.rms_norm_eps(), config.rope_theta()), (1e-6, 1e6));
    assert!(config.tie_word_embeddings());
    assert_eq!(config.dtype(), Some(Dtype::Bf16));
}

#[test]
fn transformers_5_style_means_the_same() {
    let text = edit(CONFIG, r#""rope_theta": 1000000"#, NEW_ROPE);
    let text = edit(&text, r#""torch_dtype""#, r#""dtype""#);
    let text = edit(&text, "{\n", r#"{"layer_types": ["full_attention"],"#);
    assert_eq!(parse(&text), parse(CONFIG));
}

#[test]
fn old_and_new_style_may_agree_but_not_contradict() {
    let both = format!(r#""rope_theta": 1000000, {NEW_ROPE}"#);
    assert_eq!(
        parse(&edit(CONFIG, r#""rope_theta": 1000000"#, &both)),
        parse(CONFIG)
    );
    assert_eq!(
        spoiled(
            r#""rope_theta": 1000000"#,
            &format!(r#""rope_theta": 10000, {NEW_ROPE}"#)
        ),
        "config.json: rope_theta: expected the same as rope_parameters.rope_theta (1000000.0), found 10000"
    );
    assert_eq!(
        spoiled(r#""torch_dtype""#, r#""dtype": "float32", "torch_dtype""#),
        r#"config.json: torch_dtype: expected the same as dtype ("float32"), found "bfloat16""#
    );
}

#[test]
fn optional_keys_have_the_reference_defaults() {
    let text = edit(
        CONFIG,
        r#""tie_word_embeddings": true, "torch_dtype": "bfloat16","#,
        "",
    );
    let config = parse(&text).unwrap();
    assert!(!config.tie_word_embeddings());
    assert_eq!(config.dtype(), None);
}

#[test]
fn required_keys_are_never_derived() {
    for key in [
        "hidden_size",
        "intermediate_size",
        "num_hidden_layers",
        "num_attention_heads",
        "num_key_value_heads",
        "head_dim",
        "vocab_size",
        "max_position_embeddings",
    ] {
        let found = spoiled(&format!(r#""{key}""#), &format!(r#""_{key}""#));
        let expected = "expected an integer from 1 to 2147483647, found nothing";
        assert_eq!(found, format!("config.json: {key}: {expected}"));
    }
    for key in ["rms_norm_eps", "rope_theta"] {
        let found = spoiled(&format!(r#""{key}""#), &format!(r#""_{key}""#));
        assert_eq!(
            found,
            format!("config.json: {key}: expected a finite number above 0, found nothing")
        );
    }
    assert_eq!(
        spoiled(r#""model_type""#, r#""_model_type""#),
        "config.json: model_type: expected a string, found nothing"
    );
}

#[test]
fn duplicate_key() {
    assert_eq!(
        refusal(r#"{"head_dim": 4, "head_dim": 8}"#),
        r#"config.json: duplicate key "head_dim" at line 1 column 30"#
    );
}

#[test]
fn not_an_object() {
    assert_eq!(refusal("[1]"), "config.json: expected an object, found [1]");
    assert_eq!(
        refusal(""),
        "config.json: EOF while parsing a value at line 1 column 0"
    );
    assert_eq!(
        refusal(&"[".repeat(1 << 20)),
        "config.json: recursion limit exceeded at line 1 column 128"
    );
}

#[test]
fn files_that_cannot_be_read_whole() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("config.json");
    let refusal = || {
        let error = ModelConfig::from_file(&path).unwrap_err();
        error
            .to_string()
            .replace(dir.path().to_str().unwrap(), "DIR")
    };
    assert_eq!(
        refusal(),
        "DIR/config.json: not found; expected the model's configuration"
    );
    fs::create_dir(&path).unwrap();
    assert_eq!(refusal(), "DIR/config.json: expected a regular file");
    fs::remove_dir(&path).unwrap();
    fs::File::create(&path)
        .unwrap()
        .set_len((16 << 20) + 1)
        .unwrap();
    assert_eq!(
        refusal(),
        "DIR/config.json: expected at most 16777216 bytes, found more"
    );
    fs::write(&path, b"{\"a\": \xff}").unwrap();
    assert_eq!(
        refusal(),
        "DIR/config.json: invalid utf-8 sequence of 1 bytes from index 6"
    );
    fs::write(&path, CONFIG).unwrap();
    assert!(ModelConfig::from_file(&path).is_ok());
}
