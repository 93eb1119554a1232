//! Errors at run time: code 1, one line on stderr, nothing on stdout.

mod support;

use std::fs;

use support::{Outcome, finish, program, run, run_on, tiny};

#[track_caller]
fn failed(outcome: &Outcome, message: &str) {
    assert_eq!(outcome.stderr, format!("error: {message}\n"));
    assert_eq!(outcome.code, 1);
    assert!(outcome.stdout.is_empty());
}

#[test]
fn a_model_that_is_neither_directory_nor_id() {
    for name in ["./no/model", "no model", "model"] {
        failed(
            &run(&["embed", "a", "--model", name]),
            &format!(
                "model {name:?} was not found: there is no such directory, and it is not an id of \
                 the form organisation/name"
            ),
        );
    }
}

#[test]
fn a_directory_without_a_model() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().canonicalize().unwrap();
    let message = format!(
        "{}: not found; expected the model's configuration",
        folder.join("config.json").display()
    );
    for command in [
        &["embed", "a"][..],
        &["info"],
        &["similarity", "--query", "a", "b"],
    ] {
        let outcome = run(&[command, &["--model", folder.to_str().unwrap()]].concat());
        failed(&outcome, &message);
    }
}

#[cfg(feature = "hub")]
#[test]
fn an_id_that_is_not_in_the_cache_when_requests_are_forbidden() {
    let cache = tempfile::tempdir().unwrap();
    let mut program = program();
    program.env("HF_HUB_CACHE", cache.path());
    program.args([
        "embed",
        "a",
        "--offline",
        "--model",
        "Qwen/Qwen3-Embedding-0.6B",
    ]);
    failed(
        &finish(&mut program),
        &format!(
            "model Qwen/Qwen3-Embedding-0.6B: config.json is not in the local cache {}, and \
             offline mode forbids fetching it; nor is there a directory Qwen/Qwen3-Embedding-0.6B",
            cache.path().display()
        ),
    );
}

#[cfg(not(feature = "hub"))]
#[test]
fn an_id_in_a_build_without_ids() {
    failed(
        &run(&["embed", "a", "--model", "Qwen/Qwen3-Embedding-0.6B"]),
        "model \"Qwen/Qwen3-Embedding-0.6B\" was not found: there is no such directory, and this \
         program was built without model ids (feature hub)",
    );
}

#[cfg(feature = "mlx")]
#[test]
fn options_that_the_model_or_the_build_cannot_meet() {
    // 512 tokens and EOS.
    let long = format!("b{}", " c".repeat(511));
    let cases: [(&[&str], &str); 10] = [
        (
            &["a", "--dimensions", "0"],
            "dimensions: expected 1..=192, found 0",
        ),
        (
            &["a", "--dimensions", "193"],
            "dimensions: expected 1..=192, found 193",
        ),
        (
            &["a", "--max-tokens", "0"],
            "max_tokens: expected 1..=512, found 0",
        ),
        (
            &["a", "--max-tokens", "513"],
            "max_tokens: expected 1..=512, found 513",
        ),
        (
            &["a", "--prompt", "sts"],
            "prompt \"sts\" is not declared by the model; declared: document, query",
        ),
        (
            &["a", "b c d e", "--max-tokens", "2"],
            "input 1: 5 tokens, more than the limit of 2; shorten it or, if it is a text, allow truncation",
        ),
        (
            &["--token-ids", "1,2,3", "--max-tokens", "2"],
            "input 0: 3 tokens, more than the limit of 2; shorten it or, if it is a text, allow truncation",
        ),
        (
            &["--token-ids", "1", "--token-ids", "5,12288"],
            "input 1: token id 12288 at position 1: expected an id below 12288",
        ),
        (
            &["--input", "no/file"],
            "no/file: No such file or directory (os error 2)",
        ),
        (
            &["a", "--output", "no/folder/x"],
            "no/folder/x: No such file or directory (os error 2)",
        ),
    ];
    for (args, message) in cases {
        let outcome = support::on_tiny(&[&["embed"], args].concat());
        failed(&outcome, message);
    }
    let outcome = support::on_tiny(&["embed", &long]);
    failed(
        &outcome,
        "input 0: 513 tokens, more than the limit of 512; shorten it or, if it is a text, allow truncation",
    );
    let outcome = support::on_tiny(&["similarity", "--query", "a", "b", "--dimensions", "0"]);
    failed(&outcome, "dimensions: expected 1..=192, found 0");
    let outcome = support::on_tiny(&["similarity", "--query", &long, "b"]);
    assert!(outcome.stderr.starts_with("error: query: input 0: "));
    let outcome = support::on_tiny(&["similarity", "--query", "a", "b", &long]);
    failed(
        &outcome,
        "documents: input 1: 513 tokens, more than the limit of 512; shorten it or, if it is a \
         text, allow truncation",
    );
}

#[cfg(not(any(feature = "mlx", feature = "onnx")))]
#[test]
fn a_build_without_a_backend_says_so() {
    failed(
        &run(&["embed", "a", "--model", tiny().to_str().unwrap()]),
        "any backend: not available: this build does not contain it; see the crate's features",
    );
}

#[test]
fn input_that_is_not_lines_of_text() {
    let cases: [(&[u8], &str); 5] = [
        (b"", "stdin: expected at least one line, found none"),
        (
            b"a\n\nb\n",
            "stdin: line 2: empty; every line must hold a text",
        ),
        (b"a\nb\xFF", "stdin: line 2: not UTF-8 after byte 1"),
        (
            b"{\"text\": \"a\"}\n{\"text\": 1}\n",
            "stdin: line 2: expected a JSON object with a string \"text\", as on line 1: invalid \
             type: integer `1`, expected a string at column 10",
        ),
        (
            b"{\"text\": \"a\"}\nb\n",
            "stdin: line 2: expected a JSON object with a string \"text\", as on line 1: not an \
             object",
        ),
    ];
    for (input, message) in cases {
        failed(&run_on(input, &["embed", "--input", "-"]), message);
    }
}

#[test]
fn paths_that_are_folders() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    let message = format!("{path}: Is a directory (os error 21)");
    failed(&run(&["embed", "--input", path]), &message);
    let message = format!("{path}: is a directory");
    failed(&run(&["embed", "a", "--output", path]), &message);
    assert_eq!(fs::read_dir(path).unwrap().count(), 0);
}

#[test]
fn a_log_level_that_does_not_exist() {
    let mut program = program();
    program.env("QWEN3_EMBED_LOG", "loud").args(["embed", "a"]);
    program.arg("--model").arg(tiny());
    failed(
        &finish(&mut program),
        "QWEN3_EMBED_LOG: expected off, error, warn, info, debug or trace, found \"loud\"",
    );
}
