//! `serve`: who may ask, and why it does not start.
#![cfg(all(feature = "serve", feature = "onnx"))]
#![allow(clippy::panic, clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use std::io::Write;

use support::server::Server;
use support::{finish, program};

const REQUEST: &str = r#"{"inputs": "a"}"#;

#[test]
fn with_a_key_file_requests_need_a_key() {
    let mut keys = tempfile::NamedTempFile::new().unwrap();
    writeln!(keys, "first\nsecond").unwrap();
    let server = Server::start(&["--api-key-file", keys.path().to_str().unwrap()]);
    let ask = |key: &str| {
        let mut client = server.connect();
        let head = format!(
            "POST /v1/embeddings HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
             {key}content-length: 14\r\n\r\n{{\"input\": \"a\"}}"
        );
        client.send(head.as_bytes());
        client.answer()
    };
    for key in ["first", "second"] {
        assert_eq!(ask(&format!("authorization: Bearer {key}\r\n")).status, 200);
    }
    for key in [
        "",
        "authorization: Bearer third\r\n",
        "authorization: first\r\n",
    ] {
        let answer = ask(key);
        assert_eq!(answer.status, 401);
        assert_eq!(answer.headers["www-authenticate"], "Bearer");
        assert_eq!(answer.json()["error"]["code"], "invalid_api_key");
    }
    for path in [
        "/info",
        "/metrics",
        "/openapi.json",
        "/v1/models",
        "/nothing",
    ] {
        assert_eq!(server.get(path).status, 401, "{path}");
    }
    assert_eq!(
        server.post("/embed", REQUEST).json()["error_type"],
        "Validation"
    );
    for path in ["/health", "/ready"] {
        assert_eq!(server.get(path).status, 200, "{path}");
    }
}

#[test]
fn what_cannot_start_says_why() {
    let run = |args: &[&str]| {
        let outcome = finish(program().arg("serve").args(args));
        assert_eq!(outcome.code, 1, "{args:?}");
        assert!(outcome.stdout.is_empty());
        outcome.stderr
    };
    let keys = tempfile::NamedTempFile::new().unwrap();
    let path = keys.path().to_str().unwrap();
    assert_eq!(
        run(&["--api-key-file", path]),
        format!("error: {path}: expected at least one key, found none\n")
    );
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("config.json"), "{}").unwrap();
    let outcome = finish(
        program()
            .args(["serve", "--port", "0", "--model"])
            .arg(folder.path()),
    );
    assert_eq!(outcome.code, 1);
    assert!(
        outcome.stderr.contains("config.json: "),
        "{}",
        outcome.stderr
    );

    let server = Server::start(&[]);
    let port = server.port().to_string();
    let taken = run(&[
        "--port",
        &port,
        "--model",
        support::tiny().to_str().unwrap(),
    ]);
    assert!(
        taken.starts_with(&format!("error: 127.0.0.1:{port}: ")),
        "{taken}"
    );
}
