//! `serve`: each limit answers with its status, and the next request is right.
#![cfg(all(feature = "serve", feature = "onnx"))]
#![allow(clippy::panic, clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use std::time::Duration;

use serde_json::json;
use support::server::{Answer, Server};

const REQUEST: &str = r#"{"inputs": "a"}"#;

#[test]
fn bodies_inputs_and_tokens_of_one_request() {
    let server = Server::start(&[
        "--max-body-bytes",
        "1000",
        "--max-text-bytes",
        "500",
        "--max-inputs",
        "3",
        "--max-request-tokens",
        "100",
    ]);
    let too_large = |body: String| {
        let answer = server.post("/v1/embeddings", body);
        assert_eq!(answer.status, 413, "{}", answer.text());
        answer.json()["error"]["message"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    assert_eq!(
        too_large(json!({"input": "a".repeat(1000)}).to_string()),
        "the body is over 1000 bytes"
    );
    assert_eq!(
        too_large(json!({"input": ["a", "b", "c", "d"]}).to_string()),
        "expected at most 3 inputs, found 4"
    );
    assert_eq!(
        too_large(json!({"input": ["a", "b".repeat(501)], "truncate": true}).to_string()),
        "input 1: 501 bytes, more than the limit of 500; split the text"
    );
    let words = "word ".repeat(50);
    let message = too_large(json!({"input": [words, words, words]}).to_string());
    let expected = "tokens of all inputs: expected 1..=100, found ";
    assert!(message.starts_with(expected), "{message}");
    let ids = [vec![9; 50], vec![12281]].concat();
    assert_eq!(
        too_large(json!({"input": [ids, ids]}).to_string()),
        "tokens of all inputs: expected 1..=100, found 102"
    );
    server.assert_serves();
}

#[test]
fn a_chunked_body_that_grows_beyond_the_limit_is_stopped() {
    let server = Server::start(&["--max-body-bytes", "1000"]);
    let mut client = server.connect();
    client.send(
        b"POST /embed HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
          transfer-encoding: chunked\r\n\r\n",
    );
    let chunk = [b"258\r\n".to_vec(), vec![b' '; 600], b"\r\n".to_vec()].concat();
    client.send(&chunk);
    client.send(&chunk);
    assert_eq!(client.answer().status, 413);
    assert!(client.is_closed());
    server.assert_serves();
}

#[test]
fn the_bodies_of_all_requests_share_one_room() {
    let server = Server::start(&["--max-buffered-bytes", "1000"]);
    let mut slow = server.connect();
    slow.send(
        b"POST /embed HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
          content-length: 990\r\n\r\n",
    );
    slow.send(&[b' '; 980]);
    while !server
        .get("/metrics")
        .text()
        .contains("\nqwen3_embed_http_body_bytes 980\n")
    {
        std::thread::sleep(Duration::from_millis(5));
    }
    let answer = server.post("/embed", json!({"inputs": "a".repeat(30)}).to_string());
    assert_eq!(answer.status, 429);
    assert_eq!(answer.headers["retry-after"], "1");
    assert_eq!(answer.json()["error_type"], "Overloaded");
    drop(slow);
    wait_until_served(&server);
}

/// A connection's end is noticed a moment later.
fn wait_until_served(server: &Server) {
    for _ in 0..500 {
        if server
            .connect()
            .try_post("/embed", REQUEST.as_bytes())
            .is_ok()
            && server.post("/embed", REQUEST).status == 200
        {
            return server.assert_serves();
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("not served: {}", server.log());
}

#[test]
fn a_connection_too_many_is_refused_and_idle_ones_make_room() {
    let server = Server::start(&["--max-connections", "4"]);
    // From here on the connections that asked whether it is ready are closed.
    let mut idle = vec![server.connect()];
    loop {
        idle[0].send(b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n");
        let metrics = idle[0].answer().text();
        if metrics.contains("\nqwen3_embed_http_connections 1\n") {
            break;
        }
    }
    idle.extend((0..3).map(|_| server.connect()));
    // Those that have asked once and those that never did.
    for client in &mut idle[..2] {
        client.post("/embed", REQUEST.as_bytes());
        assert_eq!(client.answer().status, 200);
    }
    let mut refused = server.connect();
    let answer = refused.answer();
    assert_eq!(answer.status, 503);
    assert_eq!(answer.headers["retry-after"], "1");
    assert_eq!(answer.json()["error"]["code"], "service_unavailable");
    assert!(refused.is_closed());
    for client in &mut idle {
        assert!(client.is_closed());
    }
    wait_until_served(&server);
    let metrics = server.get("/metrics").text();
    assert!(metrics.contains("qwen3_embed_http_connections_refused_total "));
}

#[test]
fn slow_heads_and_bodies_are_given_up() {
    let server = Server::start(&["--header-timeout", "1", "--body-timeout", "1"]);
    let mut head = server.connect();
    head.send(b"POST /embed HTTP/1.1\r\nhost:");
    let answer = head.answer();
    assert_eq!(answer.status, 408);
    assert_eq!(
        answer.json()["error"]["message"],
        "the request's head took longer than 1s"
    );
    assert!(head.is_closed());

    let mut body = server.connect();
    body.send(
        b"POST /embed HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
          content-length: 15\r\n\r\n{",
    );
    let answer = body.answer();
    assert_eq!(answer.status, 408);
    assert_eq!(answer.json()["error"], "the body took longer than 1s");
    assert!(body.is_closed());

    // Nothing was asked, so nothing is answered.
    let mut silent = server.connect();
    assert!(silent.is_closed());
    server.assert_serves();
}

#[test]
fn a_request_that_takes_too_long_is_given_up() {
    let server = Server::start(&["--request-timeout", "0.000001"]);
    let answer = server.post("/embed", REQUEST);
    assert_eq!(answer.status, 503);
    assert_eq!(answer.headers["retry-after"], "1");
    assert_eq!(
        answer.json(),
        json!({"error": "the request took longer than 1µs", "error_type": "Unhealthy"})
    );
}

#[test]
fn more_than_the_queue_holds_is_refused_at_once() {
    let server = Server::start(&["--max-queued-inputs", "64"]);
    let request = json!({"texts": vec!["some words"; 40]}).to_string();
    let refused = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| first_refusal(&server, &request)))
            .collect();
        let refusals = clients
            .into_iter()
            .filter_map(|client| client.join().unwrap());
        refusals.last()
    });
    let refused = refused.expect("at least one of eight was beyond the queue");
    assert_eq!(refused.status, 429);
    assert!(refused.headers["retry-after"].parse::<u64>().unwrap() >= 1);
    assert_eq!(
        refused.json(),
        json!({"error": "too many requests are waiting", "kind": "ServiceUnavailable"})
    );
    server.assert_serves();
}

/// Asks again and again until there is another answer than vectors.
fn first_refusal(server: &Server, request: &str) -> Option<Answer> {
    let mut client = server.connect();
    for _ in 0..200 {
        client.post("/api/v1/embed", request.as_bytes());
        let answer = client.answer();
        if answer.status != 200 {
            return Some(answer);
        }
    }
    None
}
