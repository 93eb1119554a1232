//! `serve`: what an answer is known by: its space, the model's names.
#![cfg(all(feature = "serve", feature = "onnx"))]
#![allow(clippy::panic, clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use serde_json::Value;
use support::server::Server;

#[test]
fn every_answer_names_its_space() {
    let server = Server::start(&[]);
    let info = server.get("/info");
    let space = info.headers["x-embedding-fingerprint"].clone();
    assert_eq!(info.json()["fingerprint"], space);
    let of = |path: &str, request: &str| {
        server.post(path, request).headers["x-embedding-fingerprint"].clone()
    };
    assert_eq!(of("/v1/embeddings", r#"{"input": "a"}"#), space);
    assert_eq!(of("/embed", r#"{"inputs": "a"}"#), space);
    assert_eq!(of("/api/v1/embed", r#"{"texts": ["a"]}"#), space);
    let cut = of("/v1/embeddings", r#"{"input": "a", "dimensions": 8}"#);
    assert_ne!(cut, space);
    assert_eq!(cut, of("/embed", r#"{"inputs": "b", "dimensions": 8}"#));
}

/// A cache of a hub that holds the tiny model under this id.
#[cfg(feature = "hub")]
fn cached(cache: &std::path::Path, id: &str, commit: &str) {
    let model = cache.join(format!("models--{}", id.replace('/', "--")));
    let snapshot = model.join("snapshots").join(commit);
    std::fs::create_dir_all(snapshot.join("1_Pooling")).unwrap();
    std::fs::create_dir_all(model.join("refs")).unwrap();
    std::fs::write(model.join("refs/main"), commit).unwrap();
    for file in [
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
        "config_sentence_transformers.json",
        "modules.json",
        "1_Pooling/config.json",
    ] {
        std::fs::copy(support::tiny().join(file), snapshot.join(file)).unwrap();
    }
    // Known to be absent, as a download would note it.
    let absent = model.join(".no_exist").join(commit);
    std::fs::create_dir_all(&absent).unwrap();
    std::fs::write(absent.join("sentence_bert_config.json"), "").unwrap();
}

#[test]
#[cfg(feature = "hub")]
fn a_model_of_a_hub_is_known_by_its_id_and_commit() {
    let serve = |id: &str, commit: &str| {
        let cache = tempfile::tempdir().unwrap();
        cached(cache.path(), id, commit);
        let mut program = support::program();
        program.env("HF_HUB_CACHE", cache.path());
        program.args(["serve", "--offline", "--model", id]);
        let server = Server::spawn(&mut program);
        server.assert_serves();
        let info = server.get("/info").json();
        assert_eq!(info["model"], id);
        info["fingerprint"].clone()
    };
    let first = serve("tests/tiny", &"1".repeat(40));
    assert_eq!(serve("tests/tiny", &"1".repeat(40)), first);
    assert_ne!(serve("tests/tiny", &"2".repeat(40)), first);
    assert_ne!(serve("tests/other", &"1".repeat(40)), first);
}

#[test]
fn models_are_listed_by_their_names() {
    let server = Server::start(&["--alias", "org/name"]);
    let models = server.get("/v1/models").json();
    let ids: Vec<&Value> = models["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|m| &m["id"])
        .collect();
    assert_eq!(ids, ["org/name", "tiny"]);
    for path in ["/v1/models/org/name", "/v1/models/org%2Fname"] {
        assert_eq!(server.get(path).json()["id"], "org/name");
    }
    assert_eq!(server.get("/v1/models/other").status, 404);
}
