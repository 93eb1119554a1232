//! `serve`: whatever is sent gets a documented answer, and the next request is right.
#![cfg(all(feature = "serve", feature = "onnx"))]
#![allow(clippy::panic, clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use std::time::Duration;

use serde_json::json;
use support::server::Server;

#[test]
fn bodies_that_are_no_request() {
    let server = Server::start(&[]);
    let deep = |open: &str| format!("{{\"input\": {}", open.repeat(200_000));
    let cases: Vec<(Vec<u8>, u16)> = vec![
        (b"".to_vec(), 400),
        (b"{".to_vec(), 400),
        (b"null".to_vec(), 400),
        (b"[\"a\"]".to_vec(), 400),
        (b"{\"input\": \"a\"} trailing".to_vec(), 400),
        (b"{\"input\": \"\xFF\xFE\"}".to_vec(), 400),
        (b"\xEF\xBB\xBF{\"input\": \"a\"}".to_vec(), 400),
        (br#"{"input": "\ud800"}"#.to_vec(), 400),
        (br#"{"input": "\udc00\ud800"}"#.to_vec(), 400),
        (br#"{"input": "\u0000"}"#.to_vec(), 200),
        (deep("[").into_bytes(), 400),
        (deep("{\"a\":").into_bytes(), 400),
        (br#"{"input": 7}"#.to_vec(), 400),
        (br#"{"input": {}}"#.to_vec(), 400),
        (br#"{"input": true}"#.to_vec(), 400),
        (br#"{"input": null}"#.to_vec(), 400),
        (br#"{"input": []}"#.to_vec(), 400),
        (br#"{"input": [[]]}"#.to_vec(), 400),
        (br#"{"input": [[[1]]]}"#.to_vec(), 400),
        (br#"{"input": ["a", 1]}"#.to_vec(), 400),
        (br#"{"input": [1e400]}"#.to_vec(), 400),
        (br#"{"input": [-1]}"#.to_vec(), 400),
        (br#"{"input": [4294967296]}"#.to_vec(), 400),
        (br#"{"input": [4294967295, 12281]}"#.to_vec(), 400),
        (br#"{"input": [12288, 12281]}"#.to_vec(), 400),
        (br#"{"input": "a", "dimensions": 0}"#.to_vec(), 400),
        (br#"{"input": "a", "dimensions": -1}"#.to_vec(), 400),
        (br#"{"input": "a", "dimensions": 1000000000}"#.to_vec(), 400),
        (
            br#"{"input": "a", "dimensions": 99999999999999999999}"#.to_vec(),
            400,
        ),
        (br#"{"input": "a", "dimensions": 8.0}"#.to_vec(), 400),
        (br#"{"input": "a", "dimensions": "8"}"#.to_vec(), 400),
        (br#"{"input": "a", "model": 7}"#.to_vec(), 400),
        (
            br#"{"input": "a", "encoding_format": "int8"}"#.to_vec(),
            400,
        ),
        (br#"{"input": "a", "unknown": 1}"#.to_vec(), 400),
    ];
    for (body, status) in cases {
        let answer = server.post("/v1/embeddings", &body);
        let shown = String::from_utf8_lossy(&body[..body.len().min(60)]).into_owned();
        assert_eq!(answer.status, status, "{shown}: {}", answer.text());
        let object = if status == 200 { "data" } else { "error" };
        assert!(!answer.json()[object].is_null(), "{shown}");
        assert!(!answer.text().contains('/'), "{shown}: {}", answer.text());
    }
    server.assert_serves();
}

#[test]
fn a_body_of_100_megabytes_is_refused_unread() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    let body = vec![b' '; 100 << 20];
    // The server may close before it has all.
    let _ = client.try_post("/embed", &body);
    assert_eq!(client.answer().status, 413);
    server.assert_serves();
}

#[test]
fn a_million_inputs_are_refused() {
    let server = Server::start(&[]);
    let body = format!("{{\"inputs\": [{}\"a\"]}}", "\"a\",".repeat(999_999));
    let answer = server.post("/embed", body);
    assert_eq!(answer.status, 413);
    assert_eq!(
        answer.json()["error"],
        "expected at most 2048 inputs, found 1000000"
    );
    server.assert_serves();
}

#[test]
fn a_request_in_chunks_of_one_byte_is_right() {
    let server = Server::start(&[]);
    let body = json!({"inputs": "still right"}).to_string();
    let mut client = server.connect();
    client.send(
        b"POST /embed HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
          transfer-encoding: chunked\r\n\r\n",
    );
    for byte in body.bytes() {
        client.send(b"1\r\n");
        client.send(&[byte]);
        client.send(b"\r\n");
    }
    client.send(b"0\r\n\r\n");
    let found = client.answer();
    assert_eq!(found.status, 200);
    assert_eq!(found.json(), server.post("/embed", &body).json());
}

#[test]
fn what_is_no_http_is_refused() {
    let server = Server::start(&[]);
    let long = format!(
        "GET /health HTTP/1.1\r\nhost: x\r\na: {}\r\n\r\n",
        "b".repeat(100_000)
    );
    let many = format!(
        "GET /health HTTP/1.1\r\nhost: x\r\n{}\r\n",
        "a: b\r\n".repeat(1000)
    );
    let path = format!("GET /{} HTTP/1.1\r\nhost: x\r\n\r\n", "a".repeat(100_000));
    for (bytes, statuses) in [
        (&b"hello\r\n\r\n"[..], &[400][..]),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", &[400]),
        // HTTP/2 without TLS: closed without an answer, which it could not read.
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &[0]),
        (b"POST /embed HTTP/1.1\r\ncontent-length: x\r\n\r\n", &[400]),
        (long.as_bytes(), &[431]),
        (many.as_bytes(), &[431]),
        (path.as_bytes(), &[414, 431]),
    ] {
        let mut client = server.connect();
        let _ = client.try_send(bytes);
        let answer = client.try_answer();
        let status = answer.map_or(0, |answer| answer.status);
        let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(40)]);
        assert!(statuses.contains(&status), "{shown}: {status}");
        assert!(client.is_closed());
    }
    server.assert_serves();
}

#[test]
fn a_client_that_does_not_read_is_left() {
    let server = Server::start(&["--write-timeout", "0.5", "--max-connections", "1"]);
    let mut client = server.connect();
    let request = json!({"inputs": vec!["a"; 2048]}).to_string();
    // More than the buffers of both sides hold.
    for _ in 0..40 {
        if client.try_post("/embed", request.as_bytes()).is_err() {
            break;
        }
    }
    // The one slot is free again once the server has left.
    for _ in 0..1000 {
        let mut next = server.connect();
        let _ = next.try_post("/embed", br#"{"inputs": "a"}"#);
        if next.try_answer().is_some_and(|answer| answer.status == 200) {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("the slot was not freed: {}", server.log());
}

#[test]
fn clients_that_leave_early_disturb_nobody() {
    let server = Server::start(&[]);
    for length in 0..100 {
        let mut client = server.connect();
        let request = b"POST /embed HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
                        content-length: 15\r\n\r\n{\"inputs\": \"a\"}";
        client.send(&request[..length.min(request.len())]);
    }
    for _ in 0..100 {
        server
            .connect()
            .post("/embed", br#"{"inputs": ["a", "b", "c"]}"#);
    }
    server.assert_serves();
    assert!(!server.log().contains("panick"), "{}", server.log());
}
