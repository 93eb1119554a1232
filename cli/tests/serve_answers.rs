//! `serve`: what is answered beside vectors: errors, documents, counters, compressed bytes.
#![cfg(all(feature = "serve", feature = "onnx"))]
#![allow(clippy::panic, clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use serde_json::{Value, json};
use support::server::{Answer, Server};

#[track_caller]
fn assert_error(answer: &Answer, status: u16, body: &Value) {
    assert_eq!((answer.status, answer.json()), (status, body.clone()));
    assert_eq!(answer.headers["content-type"], "application/json");
}

#[test]
fn errors_are_told_whole_in_each_shape() {
    let server = Server::start(&[]);
    let error = |message: &str, param: Value, code: Value| {
        json!({"error": {
            "message": message, "type": "invalid_request_error", "param": param, "code": code,
        }})
    };
    let openai = |body: &str| server.post("/v1/embeddings", body);
    assert_error(
        &openai(r#"{"input": "a", "model": "gpt"}"#),
        404,
        &error(
            "model \"gpt\" is not served here",
            json!("model"),
            json!("model_not_found"),
        ),
    );
    assert_error(
        &openai(r#"{"input": ["a", ""]}"#),
        400,
        &error("input 1 is empty", json!("input"), json!(null)),
    );
    for ids in ["[9]", "[[9]]", "[[12281, 9]]", "[[9, 12281, 12281]]"] {
        let eos = "input 0: expected the model's own token ids, which end with one EOS, 12281; \
                   send text where there is another tokenizer";
        assert_error(
            &openai(&format!(r#"{{"input": {ids}}}"#)),
            400,
            &error(eos, json!("input"), json!(null)),
        );
    }
    assert_error(
        &server.post("/embed", r#"{"inputs": "a", "prompt_name": "sts"}"#),
        422,
        &json!({
            "error": "prompt \"sts\" is not declared by the model; declared: document, query",
            "error_type": "Validation",
        }),
    );
    assert_error(
        &server.post("/api/v1/embed", r#"{"texts": []}"#),
        400,
        &json!({"error": "expected at least one text, found none", "kind": "InvalidInput"}),
    );
    assert_error(
        &server.post("/api/v1/embed", r#"{"texts": ["a"], "model": "x"}"#),
        404,
        &json!({"error": "model \"x\" is not served here", "kind": "ModelNotFound"}),
    );
    assert_error(
        &server.get("/v2"),
        404,
        &error(
            "there is nothing at this path",
            json!(null),
            json!("unknown_url"),
        ),
    );
    let wrong = server.get("/embed");
    assert_error(
        &wrong,
        405,
        &json!({"error": "expected POST", "error_type": "Validation"}),
    );
    assert_eq!(wrong.headers["allow"], "POST");
    assert_eq!(server.post("/info", "").headers["allow"], "GET, HEAD");
    server.assert_serves();
}

#[test]
fn the_requests_of_the_readme_are_served() {
    let server = Server::start(&[]);
    let readme = include_str!("../../README.md");
    let lines: Vec<_> = readme
        .lines()
        .filter(|line| line.starts_with("curl "))
        .collect();
    assert_eq!(lines.len(), 3);
    for line in lines {
        let (command, body) = line.split_once(" -d ").unwrap();
        let path = command.split(' ').nth(1).unwrap();
        let path = path.strip_prefix("localhost:8080").unwrap();
        // The built-in model has fewer dimensions than the released ones.
        let body = body.trim_matches('\'').replace("256", "64");
        let answer = server.post(path, body);
        assert_eq!(answer.status, 200, "{line}: {}", answer.text());
    }
}

#[test]
fn everything_documented_is_served() {
    let server = Server::start(&[]);
    let document = server.get("/openapi.json").json();
    for (path, operations) in document["paths"].as_object().unwrap() {
        let name = path.replace("{name}", "tiny");
        for (method, operation) in operations.as_object().unwrap() {
            let answer = match method.as_str() {
                "get" => server.get(&name),
                _ => server.post(&name, "{}"),
            };
            assert_ne!(answer.status, 404, "{path}");
            assert_ne!(answer.status, 405, "{path}");
            let status = answer.status.to_string();
            assert!(
                operation["responses"][&status].is_object(),
                "{path} {status}"
            );
        }
    }
}

#[test]
fn large_answers_are_compressed_where_the_client_takes_it() {
    let server = Server::start(&[]);
    let ask = |inputs: usize, accept: &str| {
        let mut client = server.connect();
        let body = json!({"inputs": vec!["a"; inputs]}).to_string();
        let head = format!(
            "POST /embed HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
             accept-encoding: {accept}\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        client.send(head.as_bytes());
        client.answer()
    };
    let plain = ask(64, "identity");
    assert!(!plain.headers.contains_key("content-encoding"));
    for (encoding, magic) in [
        ("gzip", &[0x1f, 0x8b][..]),
        ("zstd", &[0x28, 0xb5, 0x2f, 0xfd]),
    ] {
        let answer = ask(64, encoding);
        assert_eq!(answer.headers["content-encoding"], encoding);
        assert!(answer.body.starts_with(magic));
        assert!(answer.body.len() < plain.body.len() / 2);
        assert!(!ask(1, encoding).headers.contains_key("content-encoding"));
    }
}

#[test]
fn metrics_count_what_happened() {
    let server = Server::start(&[]);
    server.post("/embed", r#"{"inputs": ["a", "b"]}"#);
    server.post("/embed", "{");
    // The times of an answer are counted just after it was sent.
    let text = loop {
        let metrics = server.get("/metrics");
        assert_eq!(metrics.headers["content-type"], "text/plain; version=0.0.4");
        if !metrics.text().contains("qwen3_embed_total_seconds_count 0") {
            break metrics.text();
        }
    };
    for line in [
        "qwen3_embed_http_requests_total{route=\"/embed\",status=\"200\"} 1",
        "qwen3_embed_http_requests_total{route=\"/embed\",status=\"400\"} 1",
        "qwen3_embed_requests_total{outcome=\"answered\"} 1",
        "qwen3_embed_batch_rows_sum 2",
        "qwen3_embed_total_seconds_count 1",
        "qwen3_embed_failures_total 0",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
    assert!(text.contains("qwen3_embed_memory_bytes{kind=\"active\"}"));
}
