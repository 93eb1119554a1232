//! `info`: the model and what would run it.
#![cfg(feature = "mlx")]

mod support;

use std::fs;

use serde_json::{Value, json};
use support::{NOTE, on_tiny, run, tiny};

#[test]
fn json_holds_the_configuration_and_what_embed_runs_on() {
    let info = on_tiny(&["info", "--format", "json"]).json();
    assert_eq!(info["model"], "tiny");
    assert_eq!(info["version"], env!("CARGO_PKG_VERSION"));
    let directory = tiny().canonicalize().unwrap();
    assert_eq!(info["directory"], directory.to_str().unwrap());
    let config = fs::read_to_string(tiny().join("config.json")).unwrap();
    let config: Value = serde_json::from_str(&config).unwrap();
    for (key, in_config) in [
        ("hidden_size", "hidden_size"),
        ("layers", "num_hidden_layers"),
        ("heads", "num_attention_heads"),
        ("kv_heads", "num_key_value_heads"),
        ("head_dim", "head_dim"),
        ("vocabulary", "vocab_size"),
        ("context", "max_position_embeddings"),
    ] {
        assert_eq!(info["architecture"][key], config[in_config], "{key}");
    }
    assert_eq!(info["architecture"]["weight_precision"], "bf16");
    assert_eq!(info["backend"], on_tiny(&["embed", "x"]).json()["backend"]);
}

#[test]
fn a_table_line_a_fact() {
    let outcome = run(&["info", "--device", "cpu"]);
    assert_eq!(outcome.stderr, NOTE);
    let lines: Vec<_> = outcome.stdout().lines().collect();
    for line in [
        "model        built-in/tiny",
        "directory    none, built in",
        "heads        4, 2 for keys and values",
        "weights      6.9 MB, bf16",
        if cfg!(feature = "onnx") {
            "provider     cpu"
        } else {
            "provider     none"
        },
        "precision    f32 (default)",
        "batch        1024 tokens (default)",
        "fallback     none",
    ] {
        assert!(lines.contains(&line), "{line:?} is not in {lines:#?}");
    }
}

#[cfg(feature = "onnx")]
#[test]
fn the_execution_providers_of_the_library_are_listed_and_no_other_runs() {
    let info = run(&["info", "--device", "cpu", "--format", "json"]).json();
    assert_eq!(info["backend"]["execution_provider"], "cpu");
    let offered = info["execution_providers"].as_array().unwrap();
    assert!(offered.contains(&json!("cpu")), "{offered:?}");
    for name in ["cuda", "tensorrt", "coreml"] {
        if offered.contains(&json!(name)) {
            continue;
        }
        let outcome = run(&["embed", "--execution-provider", name, "x"]);
        let refusal = format!("execution provider {name} is not in ");
        assert_eq!(outcome.code, 1, "{outcome:?}");
        assert!(outcome.stderr.contains(&refusal), "{}", outcome.stderr);
        assert!(outcome.stdout.is_empty());
    }
}

#[test]
fn what_is_asked_for_is_told_apart_from_a_default() {
    let choices = |args: &[&str]| run(&[&["info", "--format", "json"], args].concat()).json();
    let choices = |args: &[&str]| choices(args)["backend"]["choices"].clone();
    let default = choices(&["--device", "cpu"]);
    assert_eq!(default["precision"], "default");
    assert_eq!(
        default["batch_tokens"],
        json!({"value": 1024, "origin": "default"})
    );
    let asked = choices(&[
        "--device",
        "cpu",
        "--precision",
        "f32",
        "--max-batch-tokens",
        "77",
    ]);
    assert_eq!(asked["precision"], "asked");
    assert_eq!(
        asked["batch_tokens"],
        json!({"value": 77, "origin": "asked"})
    );
    #[cfg(feature = "onnx")]
    {
        assert_eq!(default["threads"]["origin"], "default");
        let asked = choices(&["--device", "cpu", "--threads", "3"]);
        assert_eq!(asked["threads"], json!({"value": 3, "origin": "asked"}));
    }
}

#[test]
fn the_built_in_model_has_no_directory() {
    let info = run(&["info", "--format", "json"]).json();
    assert_eq!(info["model"], "built-in/tiny");
    assert_eq!(info["directory"], json!(null));
}
