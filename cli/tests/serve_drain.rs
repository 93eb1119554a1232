//! `serve`: a signal loses no request that was accepted, and a second one ends it at once.
#![cfg(all(feature = "serve", feature = "onnx"))]
#![allow(clippy::panic, clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::json;
use support::program;
use support::server::Server;

#[test]
fn a_signal_under_load_loses_no_accepted_request() {
    for signal in ["TERM", "INT"] {
        let mut server = Server::start(&[]);
        let answered = AtomicUsize::new(0);
        let request = json!({"inputs": vec!["some words"; 8]}).to_string();
        std::thread::scope(|scope| {
            let clients: Vec<_> = (0..16)
                .map(|_| scope.spawn(|| ask_until_closed(&server, request.as_bytes(), &answered)))
                .collect();
            while answered.load(Ordering::Relaxed) < 50 {
                std::thread::sleep(Duration::from_millis(5));
            }
            server.signal(signal);
            for client in clients {
                client.join().unwrap();
            }
        });
        assert!(server.ended().success(), "{}", server.log());
        assert!(server.log().contains("drained"), "{}", server.log());
    }
}

/// Asks on one connection until the server says that it closes; every request must be answered.
fn ask_until_closed(server: &Server, request: &[u8], answered: &AtomicUsize) {
    let mut client = server.connect();
    loop {
        client.post("/embed", request);
        let answer = client.answer();
        assert_eq!(answer.status, 200, "{}", answer.text());
        answered.fetch_add(1, Ordering::Relaxed);
        if answer
            .headers
            .get("connection")
            .is_some_and(|value| value == "close")
        {
            return;
        }
    }
}

#[test]
fn a_request_whose_body_is_on_its_way_is_still_answered() {
    let mut server = Server::start(&[]);
    let mut client = server.connect();
    client.send(
        b"POST /embed HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
          content-length: 15\r\n\r\n{\"inputs\"",
    );
    let mut late = server.connect();
    late.send(b"GET /ready HTTP/1.1\r\nhost: x\r\n");
    let mut watcher = server.connect();
    let mut is_open = || {
        let sent = watcher.try_send(b"GET /ready HTTP/1.1\r\nhost: x\r\n\r\n");
        let answer = sent.ok().and_then(|()| watcher.try_answer());
        answer.is_some_and(|answer| !answer.headers.contains_key("connection"))
    };
    assert!(is_open());
    server.signal("TERM");
    // The signal has arrived when an open connection is closed.
    while is_open() {}
    late.send(b"\r\n");
    let answer = late.answer();
    assert_eq!(answer.status, 503);
    assert_eq!(answer.headers["connection"], "close");
    assert_eq!(
        answer.json()["error"]["message"],
        "the service is shutting down"
    );
    client.send(b": \"a\"}");
    assert_eq!(client.answer().status, 200);
    assert!(server.ended().success());
}

#[test]
fn what_does_not_end_in_time_is_cut_off() {
    let mut server = Server::start(&["--drain-timeout", "0.2", "--body-timeout", "600"]);
    let mut client = server.connect();
    client.send(
        b"POST /embed HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
          content-length: 15\r\n\r\n",
    );
    server.signal("TERM");
    assert!(server.ended().success());
    assert!(client.try_answer().is_none());
}

#[test]
fn a_batch_on_the_device_at_the_end_of_the_time_is_told_by_the_exit_code() {
    let unpacked = tempfile::tempdir().unwrap();
    let args = [
        "--drain-timeout",
        "0.001",
        "--max-request-tokens",
        "2000000",
    ];
    let mut server = built_in(unpacked.path(), &args);
    let eos = server.get("/info").json()["eos_token_id"].as_u64().unwrap();
    // Each its own, since equal ones would be computed once.
    let ids = |first| [vec![first], vec![1; 499], vec![eos]].concat();
    let input = json!({ "input": (0..2000).map(ids).collect::<Vec<_>>() });
    let mut client = server.connect();
    client.post("/v1/embeddings", input.to_string().as_bytes());
    let waiting = |server: &Server| {
        let metrics = server.get("/metrics").text();
        let count = |line: &str| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap();
        let mut lines = metrics.lines().filter(|line| !line.starts_with('#'));
        lines.any(|line| line.contains("_batch_rows_count") && count(line) > 0.0)
    };
    while !waiting(&server) {
        std::thread::sleep(Duration::from_millis(5));
    }
    server.signal("TERM");
    assert_eq!(server.ended().code(), Some(1), "{}", server.log());
    let log = server.log();
    assert!(log.contains("the time to drain was not enough"), "{log}");
    assert!(!log.contains("onnxruntime"), "{log}");
    assert_eq!(std::fs::read_dir(unpacked.path()).unwrap().count(), 0);
}

/// A server of the built-in model, which it unpacks into a folder of `temporary`.
fn built_in(temporary: &Path, args: &[&str]) -> Server {
    Server::spawn(program().arg("serve").args(args).env("TMPDIR", temporary))
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let unpacked = tempfile::tempdir().unwrap();
    let patient = ["--drain-timeout", "600", "--body-timeout", "600"];
    let mut server = built_in(unpacked.path(), &patient);
    assert_eq!(std::fs::read_dir(unpacked.path()).unwrap().count(), 1);
    let mut client = server.connect();
    client.send(
        b"POST /embed HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
          content-length: 15\r\n\r\n",
    );
    server.signal("TERM");
    while !server.log().contains("draining") {
        std::thread::sleep(Duration::from_millis(5));
    }
    server.signal("TERM");
    let signal = server.ended().signal();
    assert_eq!(signal, Some(15), "{}", server.log());
    assert_eq!(std::fs::read_dir(unpacked.path()).unwrap().count(), 0);
}
