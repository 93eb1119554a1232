//! Wrong usage ends with code 2, says what is wrong, and writes nothing to stdout.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use support::run;

#[track_caller]
fn wrong(args: &[&str], message: &str) {
    let outcome = run(args);
    assert_eq!(outcome.code, 2, "{args:?}: {}", outcome.stderr);
    assert!(outcome.stdout.is_empty());
    let found = outcome.stderr.split("\n\n").next().unwrap();
    assert_eq!(found, message, "{args:?}");
}

#[test]
fn embed_takes_exactly_one_source() {
    wrong(
        &["embed"],
        "error: the following required arguments were not provided:\n  \
         <TEXT|--input <FILE>|--token-ids <ID,ID,...>>",
    );
    wrong(
        &["embed", "a", "--input", "-"],
        "error: the argument '[TEXT]...' cannot be used with '--input <FILE>'",
    );
    wrong(
        &["embed", "a", "--token-ids", "1"],
        "error: the argument '[TEXT]...' cannot be used with '--token-ids <ID,ID,...>'",
    );
    wrong(
        &["embed", "--input", "-", "--token-ids", "1"],
        "error: the argument '--input <FILE>' cannot be used with '--token-ids <ID,ID,...>'",
    );
}

#[test]
fn embed_takes_at_most_one_role() {
    wrong(
        &["embed", "a", "--query", "--instruct", "t"],
        "error: the argument '--query' cannot be used with '--instruct <TASK>'",
    );
    wrong(
        &["embed", "a", "--query", "--prompt", "p"],
        "error: the argument '--query' cannot be used with '--prompt <NAME>'",
    );
    wrong(
        &["embed", "a", "--prompt", "p", "--instruct", "t"],
        "error: the argument '--prompt <NAME>' cannot be used with '--instruct <TASK>'",
    );
}

#[test]
fn what_shapes_texts_does_not_go_with_token_ids() {
    for (option, shown) in [
        (&["--query"][..], "--query"),
        (&["--instruct", "t"], "--instruct <TASK>"),
        (&["--prompt", "p"], "--prompt <NAME>"),
        (&["--truncate", "end"], "--truncate <HOW>"),
        (&["--parse-special-tokens"], "--parse-special-tokens"),
    ] {
        wrong(
            &[&["embed", "--token-ids", "1"], option].concat(),
            &format!("error: the argument '--token-ids <ID,ID,...>' cannot be used with '{shown}'"),
        );
    }
}

#[test]
fn values_must_have_their_form() {
    for (ids, found) in [
        ("1,x", "x"),
        ("", ""),
        ("1,", ""),
        ("-1", "-1"),
        ("4294967296", "4294967296"),
    ] {
        wrong(
            &["embed", &format!("--token-ids={ids}")],
            &format!(
                "error: invalid value '{ids}' for '--token-ids <ID,ID,...>': \
                 expected numbers such as 9707,1879, found {found:?}"
            ),
        );
    }
    wrong(
        &["embed", "a", "--dimensions", "x"],
        "error: invalid value 'x' for '--dimensions <N>': invalid digit found in string",
    );
    wrong(
        &["embed", "a", "--backend", "x"],
        "error: invalid value 'x' for '--backend <BACKEND>'\n  [possible values: auto, mlx, onnx]",
    );
    wrong(
        &["info", "--format", "npy"],
        "error: invalid value 'npy' for '--format <FORMAT>'\n  [possible values: table, json]",
    );
}

#[test]
fn similarity_needs_a_query_and_documents() {
    wrong(
        &["similarity", "a"],
        "error: the following required arguments were not provided:\n  --query <TEXT>",
    );
    wrong(
        &["similarity", "--query", "a"],
        "error: the following required arguments were not provided:\n  <DOC>...",
    );
}

#[test]
fn contradictions_between_values_are_found_too() {
    wrong(
        &["embed", "a", "--device", "cpu", "--require-accelerator"],
        "error: '--require-accelerator' cannot be used with '--device cpu'",
    );
    #[cfg(feature = "hub")]
    wrong(
        &["embed", "a", "--revision", "v1"],
        "error: '--revision' is for a model id and cannot be used with the built-in model",
    );
}

#[test]
fn help_and_version_go_to_stdout() {
    let version = run(&["--version"]);
    assert_eq!(
        version.stdout(),
        concat!("qwen3-embed ", env!("CARGO_PKG_VERSION"), "\n")
    );
    for args in [
        &["--help"][..],
        &["embed", "--help"],
        &["similarity", "-h"],
        &["info", "-h"],
        #[cfg(feature = "serve")]
        &["serve", "--help"],
    ] {
        let help = run(args);
        assert!(help.stdout().contains("Usage: qwen3-embed"));
        assert!(help.stdout().contains("Example"));
        assert_eq!(help.stderr, "");
    }
    assert_eq!(run(&[]).code, 2);
}
