//! Hubs and callers that are refused, with the whole text of each error; and who sees the token.
#![cfg(feature = "hub")]
#![allow(clippy::unwrap_used, missing_docs, unreachable_pub)]

mod support;

use std::fs;

use support::hub_server::{FIRST_COMMIT, Host, LISTING};
use support::hub_setup::{MODEL, SECOND_COMMIT, Setup};

#[test]
fn a_file_of_another_commit_is_refused() {
    let setup = Setup::new();
    setup
        .server
        .faults(|faults| faults.file_commit = Some(SECOND_COMMIT.to_owned()));
    assert_eq!(
        setup.text(setup.fetch()),
        "model tests/tiny-model: tokenizer_config.json: download failed: the hub gives an unusable \
         X-Repo-Commit: expected 1111111111111111111111111111111111111111, \
         found \"2222222222222222222222222222222222222222\""
    );
}

#[test]
fn the_token_goes_to_the_hub_and_nowhere_else() {
    let setup = Setup::new();
    setup
        .server
        .faults(|faults| faults.token = Some("hf_secret".to_owned()));
    let hub = setup.hub().token(Some("hf_secret".to_owned()));
    hub.fetch(MODEL, None, &mut |_| ()).unwrap();
    let requests = setup.server.requests();
    let on = |host| requests.iter().filter(move |request| request.host == host);
    assert!(on(Host::Hub).count() > 0 && on(Host::Content).count() > 0);
    assert!(
        on(Host::Hub).all(|request| request.authorization.as_deref() == Some("Bearer hf_secret"))
    );
    assert!(on(Host::Content).all(|request| request.authorization.is_none()));
}

#[test]
fn a_gated_model_asks_for_token_and_licence() {
    let setup = Setup::new();
    setup
        .server
        .faults(|faults| faults.token = Some("hf_secret".to_owned()));
    assert_eq!(
        setup.text(setup.fetch()),
        "model tests/tiny-model: list of files: download failed: 127.0.0.1 answers HTTP 401 (GatedRepo): \
         this model needs a token (HF_TOKEN) of an account that has accepted its licence"
    );
    setup.server.faults(|faults| {
        faults.token = None;
        faults
            .status
            .insert("model.safetensors".to_owned(), (403, "GatedRepo"));
    });
    assert_eq!(
        setup.text(setup.fetch()),
        "model tests/tiny-model: model.safetensors: download failed: 127.0.0.1 answers HTTP 403 (GatedRepo): \
         this model needs a token (HF_TOKEN) of an account that has accepted its licence"
    );
}

#[test]
fn an_unknown_model_or_revision_is_not_found() {
    let setup = Setup::new();
    let unknown = setup.hub().fetch("tests/other", None, &mut |_| ());
    assert_eq!(
        setup.text(unknown),
        "model \"tests/other\" was not found: 127.0.0.1 answers HTTP 404 (RepoNotFound)"
    );
    let unknown = setup.hub().fetch(MODEL, Some("v9"), &mut |_| ());
    assert_eq!(
        setup.text(unknown),
        "model \"tests/tiny-model\" was not found: 127.0.0.1 answers HTTP 404 (RevisionNotFound)"
    );
    // What the real hub says to an anonymous caller.
    setup.server.faults(|faults| {
        faults
            .status
            .insert(LISTING.to_owned(), (401, "RepoNotFound"));
    });
    assert_eq!(
        setup.text(setup.fetch()),
        "model \"tests/tiny-model\" was not found: 127.0.0.1 answers HTTP 401 (RepoNotFound): \
         no such model, or a private one that needs a token (HF_TOKEN)"
    );
    assert!(setup.cached_files().is_empty());
}

#[test]
fn a_listed_file_that_is_gone_is_a_failed_download() {
    let setup = Setup::new();
    setup.server.faults(|faults| {
        faults
            .status
            .insert("tokenizer.json".to_owned(), (404, "EntryNotFound"));
    });
    assert_eq!(
        setup.text(setup.fetch()),
        "model tests/tiny-model: tokenizer.json: download failed: 127.0.0.1 answers HTTP 404 (EntryNotFound)"
    );
}

#[test]
fn a_refused_connection_says_so() {
    let setup = Setup::new();
    let free = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let result = setup
        .hub()
        .endpoint(format!("http://{free}"))
        .fetch(MODEL, None, &mut |_| ());
    let text = setup.text(result);
    let start =
        "model tests/tiny-model: list of files: download failed: 127.0.0.1: io: Connection refused";
    assert!(
        text.starts_with(start) && text.ends_with(" (after 4 attempts)"),
        "{text}"
    );
}

#[test]
fn an_endpoint_that_is_no_url_is_refused() {
    let setup = Setup::new();
    for endpoint in ["", "ftp://x", "huggingface.co", "http://a b"] {
        let result = setup
            .hub()
            .endpoint(endpoint.to_owned())
            .fetch(MODEL, None, &mut |_| ());
        assert_eq!(
            setup.text(result),
            format!(
                "model tests/tiny-model: list of files: download failed: \
                 the endpoint {endpoint:?} is not an http(s) URL"
            )
        );
    }
}

#[test]
fn a_token_that_is_no_header_is_refused() {
    let setup = Setup::new();
    let result = setup
        .hub()
        .token(Some("a\nb".to_owned()))
        .fetch(MODEL, None, &mut |_| ());
    assert_eq!(
        setup.text(result),
        "model tests/tiny-model: list of files: download failed: 127.0.0.1: http: failed to parse header value"
    );
}

#[test]
fn a_shard_outside_the_model_is_refused_before_it_is_asked_for() {
    let setup = Setup::sharded();
    setup.index(r#"{"weight_map":{"x":"a-1.safetensors","y":"../x.safetensors"}}"#);
    assert_eq!(
        setup.text(setup.fetch()),
        "CACHE/models--tests--tiny-model/snapshots/1111111111111111111111111111111111111111/\
         model.safetensors.index.json: expected a file name in the model directory, \
         found \"../x.safetensors\""
    );
    assert!(
        setup
            .server
            .requests()
            .iter()
            .all(|request| !request.path.ends_with(".safetensors"))
    );
}

#[test]
fn a_shard_that_is_not_listed_is_missing() {
    let setup = Setup::sharded();
    fs::remove_file(setup.repo.path().join("a-1.safetensors")).unwrap();
    assert_eq!(
        setup.text(setup.fetch()),
        "CACHE/models--tests--tiny-model/snapshots/1111111111111111111111111111111111111111/\
         model.safetensors.index.json: shard a-1.safetensors is missing"
    );
}

#[test]
fn a_repository_without_a_required_file_is_refused_before_any_download() {
    for file in ["config.json", "tokenizer.json", "model.safetensors"] {
        let setup = Setup::new();
        fs::remove_file(setup.repo.path().join(file)).unwrap();
        assert_eq!(
            setup.text(setup.fetch()),
            format!(
                "model tests/tiny-model: {file}: download failed: the repository does not hold it \
                 at commit 1111111111111111111111111111111111111111"
            )
        );
        assert_eq!(setup.server.requests().len(), 1);
    }
}

#[test]
fn a_hostile_commit_is_refused() {
    let setup = Setup::new();
    for sha in [
        "../../../evil",
        "",
        "1111",
        "111111111111111111111111111111111111111G",
    ] {
        setup
            .server
            .faults(|faults| faults.sha = Some(sha.to_owned()));
        assert_eq!(
            setup.text(setup.fetch()),
            format!(
                "model tests/tiny-model: list of files: download failed: the hub gives an unusable commit: \
                 expected 40 hexadecimal digits, found {sha:?}"
            )
        );
    }
    assert!(setup.cached_files().is_empty());
}

#[test]
fn another_commit_than_the_pinned_one_is_refused() {
    let setup = Setup::new();
    setup
        .server
        .faults(|faults| faults.sha = Some(SECOND_COMMIT.to_owned()));
    assert_eq!(
        setup.text(setup.hub().fetch(MODEL, Some(FIRST_COMMIT), &mut |_| ())),
        "model tests/tiny-model: list of files: download failed: the hub gives an unusable commit: \
         expected 1111111111111111111111111111111111111111, \
         found \"2222222222222222222222222222222222222222\""
    );
}

#[test]
fn a_hostile_etag_is_refused() {
    for (file, etag) in [
        ("tokenizer.json", "../../evil"),
        ("model.safetensors", "/etc/evil"),
    ] {
        let setup = Setup::new();
        setup.server.faults(|faults| {
            faults.etag.insert(file.to_owned(), etag.to_owned());
        });
        let text = setup.text(setup.fetch());
        assert_eq!(
            text,
            format!(
                "model tests/tiny-model: {file}: download failed: the hub gives an unusable ETag: \
                 expected 40 or 64 hexadecimal digits, found \"\\\"{etag}\\\"\""
            )
        );
        assert!(
            setup
                .cached_files()
                .iter()
                .all(|path| !path.contains("evil"))
        );
    }
}

#[test]
fn malformed_ids_and_revisions_are_refused_before_any_request() {
    let setup = Setup::new();
    assert_eq!(
        setup.text(setup.hub().fetch("../x", None, &mut |_| ())),
        "model: expected an id of the form org/name, in letters, digits and single '-', '.' or '_', \
         found \"../x\""
    );
    assert_eq!(
        setup.text(setup.hub().fetch(MODEL, Some("../x"), &mut |_| ())),
        "revision: expected a branch, tag or commit, in letters, digits, '-', '.', '_' and '/', \
         found \"../x\""
    );
    assert!(setup.server.requests().is_empty());
}

#[test]
fn a_redirect_to_no_web_address_is_refused() {
    let setup = Setup::new();
    for location in [
        "",
        "x",
        "//evil/x",
        "ftp://evil/x",
        "http://",
        "http:///x",
        "::::",
        "/a b",
        "evil:80",
    ] {
        setup.server.faults(|faults| {
            faults
                .location
                .insert("tokenizer.json".to_owned(), location.to_owned());
        });
        assert_eq!(
            setup.text(setup.fetch()),
            "model tests/tiny-model: tokenizer.json: download failed: \
             127.0.0.1 redirects to no usable address",
            "{location:?}"
        );
    }
}

#[test]
fn a_redirect_in_a_circle_is_refused() {
    let setup = Setup::new();
    let circle = format!("/{MODEL}/resolve/{FIRST_COMMIT}/tokenizer.json");
    setup.server.faults(|faults| {
        faults.location.insert("tokenizer.json".to_owned(), circle);
    });
    assert_eq!(
        setup.text(setup.fetch()),
        "model tests/tiny-model: tokenizer.json: download failed: more than 5 redirects"
    );
}
