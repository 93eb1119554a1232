//! `serve`: a signal loses no request that was accepted, and a second one ends it at once.
#![cfg(all(feature = "serve", feature = "onnx"))]
#![allow(clippy::panic, clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use std::os::unix::process::ExitStatusExt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::json;
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
    let mut watcher = server.connect();
    watcher.send(b"GET /ready HTTP/1.1\r\nhost: x\r\n\r\n");
    assert_eq!(watcher.answer().status, 200);
    server.signal("TERM");
    // The signal has arrived when an open connection says so.
    let answer = loop {
        watcher.send(b"GET /ready HTTP/1.1\r\nhost: x\r\n\r\n");
        let answer = watcher.answer();
        if answer.status != 200 {
            break answer;
        }
    };
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
fn a_second_signal_ends_it_at_once() {
    let mut server = Server::start(&["--drain-timeout", "600", "--body-timeout", "600"]);
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
}
