//! Snapshots that another tool filled in part: completed at their commit, never taken as they are.
#![cfg(feature = "hub")]
#![allow(clippy::unwrap_used, missing_docs, unreachable_pub)]

mod support;

use std::fs;

use support::hub_server::{FIRST_COMMIT, LISTING};
use support::hub_setup::{MODEL, SECOND_COMMIT, Setup, WEIGHTS, write_model};

const SENTENCE_FILES: [&str; 3] = [
    "modules.json",
    "config_sentence_transformers.json",
    "1_Pooling/config.json",
];

/// What transformers' AutoModel and AutoTokenizer leave, with the ref that they write.
fn partial() -> Setup {
    let setup = Setup::new();
    let snapshot = setup.in_cache("snapshots").join(FIRST_COMMIT);
    fs::create_dir_all(&snapshot).unwrap();
    for file in [
        "config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "model.safetensors",
    ] {
        fs::copy(setup.repo.path().join(file), snapshot.join(file)).unwrap();
    }
    set_main(&setup, FIRST_COMMIT);
    setup
}

fn set_main(setup: &Setup, commit: &str) {
    fs::create_dir_all(setup.in_cache("refs")).unwrap();
    fs::write(setup.in_cache("refs/main"), commit).unwrap();
}

fn offline_text(file: &str) -> String {
    format!(
        "model tests/tiny-model: {file} is not in the local cache CACHE, \
         and offline mode forbids fetching it"
    )
}

#[test]
fn only_the_missing_files_are_fetched() {
    let setup = partial();
    let snapshot = setup.fetch().unwrap();
    assert_eq!(setup.downloaded(), SENTENCE_FILES);
    for file in SENTENCE_FILES {
        assert_eq!(
            fs::read(snapshot.dir.join(file)).unwrap(),
            fs::read(setup.repo.path().join(file)).unwrap()
        );
    }
    assert_eq!(setup.fetch().unwrap(), snapshot);
    assert!(setup.server.requests().is_empty());
    assert_eq!(setup.offline().unwrap(), snapshot);
}

#[test]
fn the_missing_files_come_from_the_commit_of_the_ref() {
    let setup = partial();
    let newer = tempfile::tempdir().unwrap();
    write_model(newer.path());
    fs::write(newer.path().join("modules.json"), "[ ]\n").unwrap();
    setup.server.add_commit(SECOND_COMMIT, newer.path());
    setup
        .server
        .faults(|faults| faults.push_after = Some("modules.json".to_owned()));
    // Moves the hub's `main`.
    let cache = tempfile::tempdir().unwrap();
    let elsewhere = setup.hub().cache_dir(cache.path().to_owned());
    elsewhere.fetch(MODEL, None, &mut |_| ()).unwrap();
    setup.server.requests();

    let snapshot = setup.fetch().unwrap();
    assert_eq!(snapshot.commit, FIRST_COMMIT);
    assert_eq!(
        fs::read(snapshot.dir.join("modules.json")).unwrap(),
        b"[]\n"
    );
    assert!(
        setup
            .server
            .requests()
            .iter()
            .all(|request| !request.path.contains("main") && !request.path.contains(SECOND_COMMIT))
    );
    assert_eq!(
        fs::read_to_string(setup.in_cache("refs/main")).unwrap(),
        FIRST_COMMIT
    );
}

#[test]
fn offline_names_the_optional_file_that_may_exist() {
    let setup = partial();
    assert_eq!(setup.text(setup.offline()), offline_text("modules.json"));
    for (marked, next) in [
        ("modules.json", "sentence_bert_config.json"),
        (
            "sentence_bert_config.json",
            "config_sentence_transformers.json",
        ),
        ("config_sentence_transformers.json", "1_Pooling/config.json"),
    ] {
        setup.mark_absent(FIRST_COMMIT, marked);
        assert_eq!(setup.text(setup.offline()), offline_text(next));
    }
    setup.mark_absent(FIRST_COMMIT, "1_Pooling/config.json");
    setup.offline().unwrap();
    assert!(setup.server.requests().is_empty());
}

#[test]
fn a_marker_of_another_commit_says_nothing() {
    let setup = partial();
    setup.mark_absent(SECOND_COMMIT, "modules.json");
    assert_eq!(setup.text(setup.offline()), offline_text("modules.json"));
}

#[test]
fn a_partial_snapshot_is_an_error_when_the_hub_does_not_answer() {
    let setup = partial();
    setup.server.faults(|faults| {
        faults
            .status
            .insert(LISTING.to_owned(), (503, "Unavailable"));
    });
    assert_eq!(
        setup.text(setup.fetch()),
        "model tests/tiny-model: list of files: download failed: \
         127.0.0.1 answers HTTP 503 (Unavailable) (after 4 attempts)"
    );
}

#[test]
fn a_repository_without_modules_is_fetched_once() {
    let setup = Setup::new();
    for file in SENTENCE_FILES {
        fs::remove_file(setup.repo.path().join(file)).unwrap();
    }
    let snapshot = setup.fetch().unwrap();
    assert_eq!(
        setup.marked_absent(FIRST_COMMIT),
        [
            "1_Pooling/config.json",
            "config_sentence_transformers.json",
            "modules.json",
            "sentence_bert_config.json",
        ]
    );
    setup.server.requests();
    assert_eq!(setup.fetch().unwrap(), snapshot);
    assert_eq!(setup.offline().unwrap(), snapshot);
    assert!(setup.server.requests().is_empty());
}

#[test]
fn an_interrupted_fetch_of_a_pinned_commit_is_not_complete() {
    let setup = Setup::new();
    setup.server.faults(|faults| {
        faults
            .status
            .insert("config.json".to_owned(), (404, "EntryNotFound"));
    });
    let pinned = || setup.hub().fetch(MODEL, Some(FIRST_COMMIT), &mut |_| ());
    pinned().unwrap_err();
    setup.server.faults(|faults| faults.status.clear());
    setup.downloaded();
    pinned().unwrap();
    assert_eq!(setup.downloaded(), ["config.json"]);
}

#[test]
fn whole_shards_are_kept_though_the_repository_has_one_file_too() {
    let setup = Setup::sharded();
    setup.fetch().unwrap();
    fs::write(setup.repo.path().join("model.safetensors"), WEIGHTS).unwrap();
    fs::remove_file(
        setup
            .in_cache("snapshots")
            .join(FIRST_COMMIT)
            .join("modules.json"),
    )
    .unwrap();
    setup.downloaded();
    setup.fetch().unwrap();
    // Its blob is still there.
    assert!(setup.downloaded().is_empty());
}

#[test]
fn an_empty_directory_in_place_of_a_file_is_replaced() {
    for file in ["modules.json", "model.safetensors"] {
        let setup = partial();
        let place = setup.in_cache("snapshots").join(FIRST_COMMIT).join(file);
        let _ = fs::remove_file(&place);
        fs::create_dir(&place).unwrap();
        setup.mark_absent(FIRST_COMMIT, file);
        assert_eq!(setup.text(setup.offline()), offline_text(file));
        setup.fetch().unwrap();
        assert!(place.is_file());
    }
}

#[cfg(unix)]
#[test]
fn a_link_to_nothing_is_fetched_again_whatever_the_marker_says() {
    let setup = Setup::new();
    let snapshot = setup.fetch().unwrap();
    for file in ["modules.json", "1_Pooling/config.json"] {
        fs::remove_file(fs::canonicalize(snapshot.dir.join(file)).unwrap()).unwrap();
        setup.mark_absent(FIRST_COMMIT, file);
        assert_eq!(setup.text(setup.offline()), offline_text(file));
        setup.server.requests();
        setup.fetch().unwrap();
        assert_eq!(setup.downloaded(), [file]);
    }
}

#[cfg(unix)]
#[test]
fn a_link_to_nothing_in_place_of_a_file_that_the_repository_lacks_is_removed() {
    for (setup, file) in [
        (Setup::new(), "sentence_bert_config.json"),
        (Setup::sharded(), "model.safetensors"),
    ] {
        let snapshot = setup.fetch().unwrap();
        let place = snapshot.dir.join(file);
        std::os::unix::fs::symlink("../../blobs/gone", &place).unwrap();
        assert_eq!(setup.text(setup.offline()), offline_text(file));
        setup.fetch().unwrap();
        assert!(fs::symlink_metadata(&place).is_err());
        setup.offline().unwrap();
    }
}

#[test]
fn an_index_that_has_a_tensor_twice_is_refused() {
    let setup = Setup::sharded();
    setup.index(r#"{"weight_map":{"x":"a-1.safetensors","x":"a 2.safetensors"}}"#);
    assert_eq!(
        setup.text(setup.fetch()),
        "CACHE/models--tests--tiny-model/snapshots/1111111111111111111111111111111111111111/\
         model.safetensors.index.json: duplicate key \"x\" at line 1 column 59"
    );
}

#[test]
fn an_index_of_nothing_is_refused() {
    let setup = Setup::sharded();
    setup.index(r#"{"weight_map":{}}"#);
    assert_eq!(
        setup.text(setup.fetch()),
        "CACHE/models--tests--tiny-model/snapshots/1111111111111111111111111111111111111111/\
         model.safetensors.index.json: weight_map: expected at least one tensor, found none"
    );
}
