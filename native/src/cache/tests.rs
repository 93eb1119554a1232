//! The cache with real archives: what it refuses, heals and survives.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::{Cursor, Write};
use std::sync::Barrier;
use std::thread;

use sha2::{Digest, Sha256};
use tempfile::TempDir;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::*;
use crate::wheel::Package;

const LIBRARY: &str = "mlx/lib/libmlx.so";

/// A wheel with the library and `more`, and its bytes.
fn wheel(more: &[&str]) -> (Wheel, Vec<u8>) {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    for name in [LIBRARY].iter().chain(more) {
        writer
            .start_file(*name, SimpleFileOptions::default())
            .unwrap();
        writer.write_all(name.as_bytes()).unwrap();
    }
    pinned(writer)
}

fn pinned(writer: ZipWriter<Cursor<Vec<u8>>>) -> (Wheel, Vec<u8>) {
    let bytes = writer.finish().unwrap().into_inner();
    let hash: String = Sha256::digest(&bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let wheel = Wheel {
        package: Package::Mlx,
        project: "mlx-cpu",
        version: "0.32.4",
        platform: "test",
        sha256: hash.leak(),
        library: LIBRARY,
    };
    (wheel, bytes)
}

fn serve(bytes: &[u8]) -> impl FnOnce(&Path) -> Result<PathBuf> {
    move |folder| {
        let file = folder.join("served.whl");
        fs::write(&file, bytes).unwrap();
        Ok(file)
    }
}

fn unreachable_index(_: &Path) -> Result<PathBuf> {
    Err(Error::Pip {
        wheel: "w".into(),
        line: "no network".into(),
        cure: "wait".into(),
    })
}

/// What lies in the cache besides locks.
fn folders(cache: &TempDir) -> Vec<String> {
    let names = fs::read_dir(cache.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name());
    let names = names.map(|name| name.into_string().unwrap());
    names.filter(|name| !name.ends_with(".lock")).collect()
}

#[test]
fn a_second_build_needs_no_network() {
    let cache = TempDir::new().unwrap();
    let (wheel, bytes) = wheel(&["mlx/include/mlx/mlx.h"]);
    let first = provide_in(cache.path(), &wheel, serve(&bytes)).unwrap();
    assert_eq!(
        fs::read_to_string(first.join("mlx/include/mlx/mlx.h")).unwrap(),
        "mlx/include/mlx/mlx.h"
    );
    assert_eq!(
        provide_in(cache.path(), &wheel, unreachable_index).unwrap(),
        first
    );
    assert_eq!(folders(&cache), [wheel.sha256]);
}

#[test]
fn another_content_than_the_pinned_one_is_refused_and_not_unpacked() {
    let cache = TempDir::new().unwrap();
    let (wheel, _) = wheel(&[]);
    let error = provide_in(cache.path(), &wheel, serve(b"something else")).unwrap_err();
    let found: String = Sha256::digest("something else")
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect();
    assert_eq!(
        error.to_string(),
        format!(
            "mlx-cpu 0.32.4 (test): expected SHA-256 {}, found {found}; \
             fix the index or proxy that served it and build again",
            wheel.sha256,
        ),
    );
    assert!(folders(&cache).is_empty());
}

#[test]
fn an_entry_that_would_leave_the_folder_is_refused() {
    for name in [
        "../outside",
        "a/../../outside",
        "/outside",
        "a\\..\\outside",
        "c:outside",
    ] {
        let cache = TempDir::new().unwrap();
        let (wheel, bytes) = wheel(&[name]);
        let error = provide_in(cache.path(), &wheel, serve(&bytes)).unwrap_err();
        assert!(
            matches!(&error, Error::Escape { entry } if entry == name),
            "{name}: {error}"
        );
        assert!(folders(&cache).is_empty());
    }
}

#[test]
fn a_link_is_refused() {
    let cache = TempDir::new().unwrap();
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    writer
        .add_symlink("mlx", "/tmp", SimpleFileOptions::default())
        .unwrap();
    let (wheel, bytes) = pinned(writer);
    let error = provide_in(cache.path(), &wheel, serve(&bytes)).unwrap_err();
    assert!(matches!(error, Error::Escape { .. }), "{error}");
}

#[test]
fn a_wheel_without_its_library_is_refused() {
    let cache = TempDir::new().unwrap();
    let (mut wheel, bytes) = wheel(&[]);
    wheel.library = "mlx/lib/libother.so";
    let error = provide_in(cache.path(), &wheel, serve(&bytes)).unwrap_err();
    assert!(matches!(error, Error::Incomplete { .. }), "{error}");
    assert!(folders(&cache).is_empty());
}

#[test]
fn a_half_unpacked_folder_heals() {
    let (wheel, bytes) = wheel(&[]);
    for lost in [MARKER, LIBRARY] {
        let cache = TempDir::new().unwrap();
        let home = provide_in(cache.path(), &wheel, serve(&bytes)).unwrap();
        fs::remove_file(home.join(lost)).unwrap();
        fs::write(home.join("stale"), "").unwrap();
        provide_in(cache.path(), &wheel, serve(&bytes)).unwrap();
        assert!(complete(&home, &wheel));
        assert!(!home.join("stale").exists());
    }
}

#[test]
fn builds_at_the_same_time_agree_on_one_complete_folder() {
    let cache = TempDir::new().unwrap();
    let (wheel, bytes) = wheel(&["a", "b/c"]);
    let start = Barrier::new(8);
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                start.wait();
                let home = provide_in(cache.path(), &wheel, serve(&bytes)).unwrap();
                assert!(complete(&home, &wheel) && home.join("b/c").is_file());
            });
        }
    });
    assert_eq!(folders(&cache), [wheel.sha256]);
}

#[test]
fn the_loser_of_a_race_without_locks_accepts_the_winner() {
    let cache = TempDir::new().unwrap();
    let (wheel, bytes) = wheel(&[]);
    let home = provide_in(cache.path(), &wheel, serve(&bytes)).unwrap();
    fs::write(home.join("in-use"), "").unwrap();
    let fresh = TempDir::new_in(cache.path()).unwrap();
    unpack(&wheel, &serve(&bytes)(cache.path()).unwrap(), fresh.path()).unwrap();
    finish(fresh.path(), &home, &wheel).unwrap();
    assert!(home.join("in-use").exists());
}
