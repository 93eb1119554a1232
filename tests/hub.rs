//! Model id -> snapshot directory: what is fetched, where it lies, what is found again.
#![cfg(feature = "hub")]
#![allow(clippy::unwrap_used, missing_docs, unreachable_pub)]

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use qwen3_embedding::Error;
use support::hub_server::{FIRST_COMMIT, git_sha1, sha256};
use support::hub_setup::{MODEL, SECOND_COMMIT, Setup, WEIGHTS, walk, write_model};

#[test]
fn a_fresh_download_holds_the_wanted_files_in_the_standard_layout() {
    let setup = Setup::new();
    let snapshot = setup.fetch().unwrap();

    assert_eq!(snapshot.model, MODEL);
    assert_eq!(snapshot.commit, FIRST_COMMIT);
    assert_eq!(snapshot.dir, setup.in_cache("snapshots").join(FIRST_COMMIT));
    assert_eq!(
        fs::read_to_string(setup.in_cache("refs/main")).unwrap(),
        FIRST_COMMIT
    );

    let mut files = Vec::new();
    walk(&snapshot.dir, &mut files);
    let mut names: Vec<_> = files
        .iter()
        .map(|path| path.strip_prefix(&snapshot.dir).unwrap())
        .collect();
    names.sort();
    let wanted = [
        "1_Pooling/config.json",
        "config.json",
        "config_sentence_transformers.json",
        "model.safetensors",
        "modules.json",
        "tokenizer.json",
        "tokenizer_config.json",
    ];
    assert_eq!(names, wanted.map(Path::new));
    for name in wanted {
        let content = fs::read(setup.repo.path().join(name)).unwrap();
        assert_eq!(
            fs::read(snapshot.dir.join(name)).unwrap(),
            content,
            "{name}"
        );
        let large = name.ends_with(".safetensors");
        let hash = if large {
            sha256(&content)
        } else {
            git_sha1(&content)
        };
        assert_eq!(
            fs::read(setup.in_cache("blobs").join(hash)).unwrap(),
            content,
            "{name}"
        );
    }
    #[cfg(unix)]
    assert_eq!(
        fs::read_link(snapshot.dir.join("1_Pooling/config.json")).unwrap(),
        PathBuf::from(format!("../../../blobs/{}", git_sha1(b"{   }\n"))),
    );
    assert_eq!(
        setup.marked_absent(FIRST_COMMIT),
        ["sentence_bert_config.json"]
    );
}

#[test]
fn a_second_fetch_makes_no_request() {
    let setup = Setup::new();
    let first = setup.fetch().unwrap();
    setup.server.requests();
    assert_eq!(setup.fetch().unwrap(), first);
    assert_eq!(
        setup
            .hub()
            .fetch(MODEL, Some(FIRST_COMMIT), &mut |_| ())
            .unwrap(),
        first
    );
    assert_eq!(setup.offline().unwrap(), first);
    assert!(setup.server.requests().is_empty());
}

#[test]
fn a_pinned_commit_is_fetched_without_a_ref_and_found_again() {
    let setup = Setup::new();
    let fetch = || setup.hub().fetch(MODEL, Some(FIRST_COMMIT), &mut |_| ());
    let first = fetch().unwrap();
    assert!(!setup.in_cache("refs").exists());
    setup.server.requests();
    assert_eq!(fetch().unwrap(), first);
    assert!(setup.server.requests().is_empty());
}

#[test]
fn a_revision_with_slashes_gets_its_ref() {
    let setup = Setup::new();
    setup
        .hub()
        .fetch(MODEL, Some("refs/pr/5"), &mut |_| ())
        .unwrap();
    assert_eq!(
        fs::read_to_string(setup.in_cache("refs/refs/pr/5")).unwrap(),
        FIRST_COMMIT
    );
}

#[test]
fn a_push_between_two_files_does_not_mix_revisions() {
    let setup = Setup::new();
    let newer = tempfile::tempdir().unwrap();
    write_model(newer.path());
    fs::write(newer.path().join("model.safetensors"), [9; 3000]).unwrap();
    setup.server.add_commit(SECOND_COMMIT, newer.path());
    setup
        .server
        .faults(|faults| faults.push_after = Some("tokenizer.json".to_owned()));

    let snapshot = setup.fetch().unwrap();
    assert_eq!(snapshot.commit, FIRST_COMMIT);
    assert_eq!(
        fs::read(snapshot.dir.join("model.safetensors")).unwrap(),
        WEIGHTS
    );
    let requests = setup.server.requests();
    let resolved = requests
        .iter()
        .filter(|request| request.path.contains("/resolve/"));
    assert!(resolved.clone().count() > 0);
    assert!(
        resolved
            .clone()
            .all(|request| request.path.contains(FIRST_COMMIT))
    );
}

#[test]
fn offline_names_the_first_missing_file() {
    let setup = Setup::new();
    let missing = |file: &str| {
        format!(
            "model tests/tiny-model: {file} is not in the local cache CACHE, \
             and offline mode forbids fetching it"
        )
    };
    assert_eq!(setup.text(setup.offline()), missing("config.json"));
    let snapshot = setup.fetch().unwrap();
    fs::remove_file(setup.in_cache("blobs").join(sha256(WEIGHTS))).unwrap();
    assert_eq!(setup.text(setup.offline()), missing("model.safetensors"));
    fs::remove_file(snapshot.dir.join("tokenizer.json")).unwrap();
    assert_eq!(setup.text(setup.offline()), missing("tokenizer.json"));
    setup.fetch().unwrap();
    setup.offline().unwrap();
}

#[test]
fn offline_makes_no_request() {
    let setup = Setup::new();
    setup.offline().unwrap_err();
    assert!(setup.server.requests().is_empty());
}

#[test]
fn all_shards_of_the_index_are_fetched() {
    let setup = Setup::sharded();
    let snapshot = setup.fetch().unwrap();
    assert_eq!(
        fs::read(snapshot.dir.join("a-1.safetensors")).unwrap(),
        [1; 100]
    );
    assert_eq!(
        fs::read(snapshot.dir.join("a 2.safetensors")).unwrap(),
        [2; 200]
    );
    setup.server.requests();
    setup.fetch().unwrap();
    assert!(setup.server.requests().is_empty());

    fs::remove_file(snapshot.dir.join("a-1.safetensors")).unwrap();
    assert_eq!(
        setup.text(setup.offline()),
        "model tests/tiny-model: a-1.safetensors is not in the local cache CACHE, \
         and offline mode forbids fetching it"
    );
}

#[test]
fn a_snapshot_of_pythons_huggingface_hub_is_found_without_a_request() {
    let setup = Setup::new();
    let snapshot = setup.in_cache("snapshots").join(SECOND_COMMIT);
    write_model(&snapshot);
    setup.mark_absent(SECOND_COMMIT, "sentence_bert_config.json");
    let pinned = setup
        .hub()
        .fetch(MODEL, Some(SECOND_COMMIT), &mut |_| ())
        .unwrap();
    assert_eq!(
        (pinned.dir, pinned.commit.as_str()),
        (snapshot, SECOND_COMMIT)
    );
    assert!(setup.server.requests().is_empty());
}

#[test]
fn a_torn_ref_is_written_anew() {
    let setup = Setup::new();
    setup.fetch().unwrap();
    for torn in ["", "../../../etc"] {
        fs::write(setup.in_cache("refs/main"), torn).unwrap();
        assert!(matches!(setup.offline(), Err(Error::Offline { .. })));
        setup.fetch().unwrap();
        assert_eq!(
            fs::read_to_string(setup.in_cache("refs/main")).unwrap(),
            FIRST_COMMIT
        );
    }
}
