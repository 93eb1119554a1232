//! `serve`: each API gives the vectors of `embed`.
#![cfg(all(feature = "serve", feature = "onnx"))]
#![allow(clippy::panic, clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use serde_json::{Value, json};
use support::server::Server;
use support::{numbers, on_tiny};

const TEXTS: [&str; 3] = ["one", "two longer words", "三"];

/// The vectors of `embed` on the same texts.
fn expected(args: &[&str]) -> Vec<Vec<f32>> {
    let result = on_tiny(&[&["embed"], args].concat()).json();
    rows(&result["embeddings"])
}

fn rows(value: &Value) -> Vec<Vec<f32>> {
    value.as_array().unwrap().iter().map(numbers).collect()
}

/// Equal but for the order of f32 sums, which depends on the batch.
#[track_caller]
fn assert_close(found: &[Vec<f32>], expected: &[Vec<f32>]) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-5, "{found} {expected}");
        }
    }
}

#[track_caller]
fn openai(server: &Server, request: &Value) -> Vec<Vec<f32>> {
    let answer = server.post("/v1/embeddings", request.to_string());
    assert_eq!(answer.status, 200, "{}", answer.text());
    let answer = answer.json();
    assert_eq!(answer["object"], "list");
    let data = answer["data"].as_array().unwrap();
    for (index, row) in data.iter().enumerate() {
        assert_eq!(row["object"], "embedding");
        assert_eq!(row["index"], index);
    }
    data.iter().map(|row| numbers(&row["embedding"])).collect()
}

#[test]
fn openai_takes_a_text_texts_and_token_ids() {
    let server = Server::start(&[]);
    let texts = expected(&TEXTS);
    assert_close(&openai(&server, &json!({"input": TEXTS})), &texts);
    assert_close(&openai(&server, &json!({"input": TEXTS[1]})), &texts[1..2]);

    let golden = std::fs::read_to_string(support::tiny().join("golden.json")).unwrap();
    let golden: Value = serde_json::from_str(&golden).unwrap();
    let ids: Vec<&Value> = golden["cases"]
        .as_array()
        .unwrap()
        .iter()
        .map(|case| &case["ids"])
        .collect();
    let flags: Vec<String> = ids
        .iter()
        .map(|ids| format!("--token-ids={}", ids.to_string().replace(['[', ']'], "")))
        .collect();
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let vectors = expected(&flags);
    assert_close(&openai(&server, &json!({"input": ids})), &vectors);
    assert_close(&openai(&server, &json!({"input": ids[0]})), &vectors[..1]);
}

#[test]
fn openai_fields_have_their_effects() {
    let server = Server::start(&["--alias", "qwen3"]);
    let ask = |fields: Value| {
        let mut request = json!({"input": TEXTS, "model": "qwen3"});
        request
            .as_object_mut()
            .unwrap()
            .extend(fields.as_object().unwrap().clone());
        request
    };
    let with = |args: &[&str]| expected(&[args, &TEXTS].concat());
    for (fields, args) in [
        (json!({"dimensions": 8}), &["--dimensions", "8"][..]),
        (json!({"input_type": "document"}), &[]),
        (json!({"input_type": "query"}), &["--query"]),
        (json!({"instruction": "rank"}), &["--instruct", "rank"]),
        (json!({"user": "someone", "encoding_format": "float"}), &[]),
    ] {
        assert_close(&openai(&server, &ask(fields)), &with(args));
    }

    let answer = server
        .post("/v1/embeddings", ask(json!({})).to_string())
        .json();
    assert_eq!(answer["model"], "qwen3");
    let tokens = on_tiny(&[&["embed"], &TEXTS[..]].concat()).json()["tokens"].clone();
    let total: u64 = tokens
        .as_array()
        .unwrap()
        .iter()
        .map(|n| n.as_u64().unwrap())
        .sum();
    assert_eq!(
        answer["usage"],
        json!({"prompt_tokens": total, "total_tokens": total})
    );
}

#[test]
fn tei_answers_a_bare_list_of_lists() {
    let server = Server::start(&[]);
    let ask = |request: Value| {
        let answer = server.post("/embed", request.to_string());
        assert_eq!(answer.status, 200, "{}", answer.text());
        rows(&answer.json())
    };
    let with = |args: &[&str]| expected(&[args, &TEXTS].concat());
    assert_close(&ask(json!({"inputs": TEXTS})), &with(&[]));
    assert_close(&ask(json!({"inputs": "one"})), &with(&[])[..1]);
    for (name, value, args) in [
        ("normalize", json!(false), &["--no-normalize"][..]),
        ("prompt_name", json!("query"), &["--prompt", "query"]),
        ("dimensions", json!(7), &["--dimensions", "7"]),
        ("truncation_direction", json!("Right"), &[]),
    ] {
        assert_close(&ask(json!({"inputs": TEXTS, name: value})), &with(args));
    }
}

#[test]
fn akidb_takes_texts_or_inputs() {
    let server = Server::start(&["--alias", "qwen3"]);
    for name in ["texts", "inputs"] {
        let request = json!({name: TEXTS, "pooling": "last"});
        let answer = server.post("/api/v1/embed", request.to_string()).json();
        assert_close(&rows(&answer["embeddings"]), &expected(&TEXTS));
        assert_eq!(answer["model"], "qwen3");
        assert_eq!(answer["dimension"], 192);
        assert!(answer["usage"]["total_tokens"].as_u64() > Some(3));
        assert!(answer["usage"]["duration_ms"].is_u64());
    }
    let request = json!({"texts": TEXTS, "normalize": false, "model": "tiny"});
    let answer = server.post("/api/v1/embed", request.to_string()).json();
    let raw = expected(&[&["--no-normalize"], &TEXTS[..]].concat());
    assert_close(&rows(&answer["embeddings"]), &raw);
    assert_eq!(answer["model"], "tiny");
}

#[test]
fn a_text_that_is_too_long_is_cut_only_when_asked_and_said() {
    let server = Server::start(&[]);
    let long = "word ".repeat(2000);
    for (path, field, status) in [("/v1/embeddings", "input", 400), ("/embed", "inputs", 413)] {
        let refused = server.post(path, json!({field: ["a", long]}).to_string());
        assert_eq!(refused.status, status);
        assert!(refused.text().contains("input 1: "), "{}", refused.text());
        let cut = json!({field: ["a", long], "truncate": true});
        let cut = server.post(path, cut.to_string());
        assert_eq!(cut.status, 200);
        assert_eq!(cut.headers["x-embedding-truncated"], "1");
        let whole = server.post(path, json!({field: "a", "truncate": true}).to_string());
        assert!(!whole.headers.contains_key("x-embedding-truncated"));
    }
}
