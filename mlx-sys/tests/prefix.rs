//! What counts as the MLX this crate is written for.
#![allow(clippy::unwrap_used)]

#[path = "../build/prefix.rs"]
mod prefix;

use std::fs;
use std::path::Path;

use native::Os;
use prefix::Prefix;

/// Lays out a prefix whose header says `0.32.{patch}`.
fn lay_out(root: &Path, patch: &str) {
    fs::create_dir_all(root.join("include/mlx")).unwrap();
    fs::create_dir_all(root.join("lib")).unwrap();
    let header = format!(
        "#pragma once\n#define MLX_VERSION_MAJOR 0\n#define MLX_VERSION_MINOR 32\n\
         #define MLX_VERSION_PATCH {patch}\n#define MLX_VERSION_NUMERIC \\\n"
    );
    fs::write(root.join("include/mlx/version.h"), header).unwrap();
}

#[test]
fn the_pinned_version_with_its_library_is_taken() {
    let root = tempfile::tempdir().unwrap();
    lay_out(root.path(), "4");
    fs::write(root.path().join("lib/libmlx.so"), "").unwrap();
    let prefix = Prefix::open(root.path(), &Os::Linux).unwrap();
    assert_eq!(prefix.include, root.path().join("include"));
    assert_eq!(prefix.lib, root.path().join("lib"));
    assert_eq!(prefix.library, root.path().join("lib/libmlx.so"));
}

#[test]
fn another_version_is_refused_by_both_names() {
    let root = tempfile::tempdir().unwrap();
    lay_out(root.path(), "1");
    let error = Prefix::open(root.path(), &Os::Linux).unwrap_err();
    assert_eq!(
        error,
        "expected MLX 0.32.4, found 0.32.1; point MLX_DIR at the prefix of an MLX 0.32.4, \
         or unset it to use the pinned wheel",
    );
}

#[test]
fn the_library_of_another_platform_does_not_count() {
    let root = tempfile::tempdir().unwrap();
    lay_out(root.path(), "4");
    fs::write(root.path().join("lib/libmlx.so"), "").unwrap();
    let error = Prefix::open(root.path(), &Os::MacOs { major: 15 }).unwrap_err();
    assert!(error.contains("lib/libmlx.dylib"), "{error}");
}

#[test]
fn an_empty_folder_is_refused_by_the_header_it_lacks() {
    let root = tempfile::tempdir().unwrap();
    let error = Prefix::open(root.path(), &Os::Linux).unwrap_err();
    assert!(error.contains("include/mlx/version.h"), "{error}");
}
