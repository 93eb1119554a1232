//! One file over a bad line: resumed, checked, healed.
#![cfg(feature = "hub")]
#![allow(clippy::unwrap_used, missing_docs, unreachable_pub)]

mod support;

use std::collections::BTreeMap;
use std::fs;

use qwen3_embedding::{Error, Progress};
use support::hub_server::{FIRST_COMMIT, git_sha1, sha256};
use support::hub_setup::{MODEL, Setup, WEIGHTS};

#[test]
fn progress_runs_from_zero_to_the_size_of_each_file() {
    let setup = Setup::new();
    let mut seen: BTreeMap<String, Vec<(u64, u64)>> = BTreeMap::new();
    let mut note = |progress: Progress<'_>| {
        seen.entry(progress.file.to_owned())
            .or_default()
            .push((progress.done, progress.total));
    };
    setup.hub().fetch(MODEL, None, &mut note).unwrap();
    assert_eq!(seen.len(), 7);
    assert!(seen.values().flatten().all(|(done, total)| done <= total));
    let weights = &seen["model.safetensors"];
    assert_eq!(weights.first(), Some(&(0, 3000)));
    assert_eq!(weights.last(), Some(&(3000, 3000)));
}

#[test]
fn a_broken_transfer_resumes_within_the_call() {
    let setup = Setup::new();
    setup.server.faults(|faults| {
        faults
            .break_once
            .insert("model.safetensors".to_owned(), 1000);
    });
    let snapshot = setup.fetch().unwrap();
    assert_eq!(
        fs::read(snapshot.dir.join("model.safetensors")).unwrap(),
        WEIGHTS
    );
    assert_eq!(
        setup.ranges("model.safetensors"),
        [None, Some("bytes=1000-".to_owned())]
    );
}

#[test]
fn a_broken_transfer_resumes_in_a_later_call() {
    let setup = Setup::new();
    setup.server.faults(|faults| {
        faults
            .break_once
            .insert("model.safetensors".to_owned(), 1000);
    });
    // The caller breaks off as a killed process would: no code of ours runs after the first bytes.
    let stop = |progress: Progress<'_>| {
        assert!(
            !(progress.file == "model.safetensors" && progress.done == 1000),
            "killed"
        );
    };
    let hub = setup.hub();
    let killed =
        std::thread::spawn(move || hub.fetch(MODEL, None, &mut { stop }).map(|_| ())).join();
    assert!(killed.is_err());
    assert!(matches!(setup.offline(), Err(Error::Offline { .. })));
    setup.server.requests();

    setup.fetch().unwrap();
    assert_eq!(
        setup.ranges("model.safetensors"),
        [Some("bytes=1000-".to_owned())]
    );
    assert!(
        setup
            .cached_files()
            .iter()
            .all(|file| !file.ends_with(".part"))
    );
}

#[test]
fn a_server_without_ranges_starts_the_file_anew() {
    let setup = Setup::new();
    setup.server.faults(|faults| {
        faults
            .break_once
            .insert("model.safetensors".to_owned(), 1000);
        faults.no_ranges = true;
    });
    let snapshot = setup.fetch().unwrap();
    assert_eq!(
        fs::read(snapshot.dir.join("model.safetensors")).unwrap(),
        WEIGHTS
    );
}

#[test]
fn stale_part_files_heal() {
    let whole = sha256(WEIGHTS);
    let wrong_bytes: &[u8] = &[8; 500];
    let whole_but_wrong: &[u8] = &[8; 3000];
    let over_long: &[u8] = &[7; 4000];
    for part in [wrong_bytes, whole_but_wrong, over_long] {
        let setup = Setup::new();
        fs::create_dir_all(setup.in_cache("blobs")).unwrap();
        fs::write(setup.part(&whole), part).unwrap();
        let snapshot = setup.fetch().unwrap();
        assert_eq!(
            fs::read(snapshot.dir.join("model.safetensors")).unwrap(),
            WEIGHTS
        );
        assert_eq!(setup.ranges("model.safetensors").last(), Some(&None));
    }
}

#[test]
fn a_whole_part_file_needs_no_transfer() {
    let setup = Setup::new();
    fs::create_dir_all(setup.in_cache("blobs")).unwrap();
    fs::write(setup.part(&sha256(WEIGHTS)), WEIGHTS).unwrap();
    setup.fetch().unwrap();
    assert!(setup.ranges("model.safetensors").is_empty());
}

#[test]
fn range_not_satisfiable_starts_the_file_anew() {
    let setup = Setup::new();
    fs::create_dir_all(setup.in_cache("blobs")).unwrap();
    fs::write(setup.part(&sha256(WEIGHTS)), &WEIGHTS[..500]).unwrap();
    // Two requests go to the hub for this file, HEAD first: the fault must hit the GET.
    setup.server.faults(|faults| {
        faults
            .get_status_once
            .insert("model.safetensors".to_owned(), 416);
    });
    setup.fetch().unwrap();
    assert_eq!(
        setup.ranges("model.safetensors"),
        [Some("bytes=500-".to_owned()), None]
    );
}

#[test]
fn a_wrong_blob_of_another_tool_is_replaced() {
    let setup = Setup::new();
    fs::create_dir_all(setup.in_cache("blobs")).unwrap();
    fs::write(setup.in_cache("blobs").join(sha256(WEIGHTS)), b"torn").unwrap();
    let snapshot = setup.fetch().unwrap();
    assert_eq!(
        fs::read(snapshot.dir.join("model.safetensors")).unwrap(),
        WEIGHTS
    );
}

#[test]
fn wrong_content_is_an_error_leaves_nothing_and_heals() {
    let mut flipped = WEIGHTS.to_vec();
    *flipped.last_mut().unwrap() ^= 1;
    let cases = [
        (
            "model.safetensors",
            "SHA-256",
            sha256(WEIGHTS),
            sha256(&flipped),
        ),
        (
            "tokenizer.json",
            "git SHA-1",
            git_sha1(br#"{"version":"1.0"}"#),
            git_sha1(br#"{"version":"1.0"|"#),
        ),
    ];
    for (file, algorithm, expected, found) in cases {
        let setup = Setup::new();
        setup
            .server
            .faults(|faults| faults.corrupt.push(file.to_owned()));
        assert_eq!(
            setup.text(setup.fetch()),
            format!(
                "model tests/tiny-model: {file}: expected {algorithm} {expected}, found {found}; \
                 the file was removed, try again"
            )
        );
        let left = setup.cached_files();
        assert!(
            left.iter()
                .all(|path| !path.contains(&expected) && !path.ends_with(file)),
            "{left:?}"
        );
        assert!(matches!(setup.offline(), Err(Error::Offline { .. })));

        setup.server.faults(|faults| faults.corrupt.clear());
        setup.fetch().unwrap();
        setup.offline().unwrap();
    }
}

#[test]
fn a_busy_server_is_asked_again() {
    let setup = Setup::new();
    setup.server.faults(|faults| {
        faults.status_once.insert("config.json".to_owned(), 503);
        faults
            .get_status_once
            .insert("tokenizer.json".to_owned(), 429);
    });
    setup.fetch().unwrap();
}

#[test]
fn fetches_at_the_same_time_share_one_download() {
    let setup = Setup::new();
    std::thread::scope(|scope| {
        let fetches: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| setup.fetch().unwrap()))
            .collect();
        for fetch in fetches {
            assert_eq!(fetch.join().unwrap().commit, FIRST_COMMIT);
        }
    });
    assert_eq!(setup.ranges("model.safetensors"), [None]);
}
