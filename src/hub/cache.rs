//! One model in the standard cache: refs, snapshots and blobs on the local disk.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use hf_hub::{Cache, CacheRepo, Repo, RepoType};

use super::names;
use crate::checkpoint::shard_names;
use crate::error::{Error, Result};

pub(super) const CONFIG: &str = "config.json";
pub(super) const TOKENIZER: &str = "tokenizer.json";
pub(super) const WEIGHTS: &str = "model.safetensors";
pub(super) const INDEX: &str = "model.safetensors.index.json";

/// Downloaded if the repository has them. A model that lacks one is taken to declare nothing
/// there (no prompts, no pooling), so it must be known that the repository lacks it too.
pub(super) const OPTIONAL: [&str; 5] = [
    "tokenizer_config.json",
    "modules.json",
    "sentence_bert_config.json",
    "config_sentence_transformers.json",
    "1_Pooling/config.json",
];

/// A model's folder in the cache. Commits and hashes that come here are hexadecimal digits.
pub(super) struct CachedModel {
    dir: PathBuf,
    layout: CacheRepo,
}

impl CachedModel {
    pub(super) fn new(cache: PathBuf, model: &str) -> Self {
        let repo = Repo::new(model.to_owned(), RepoType::Model);
        Self {
            dir: cache.join(repo.folder_name()),
            layout: Cache::new(cache).repo(repo),
        }
    }

    /// The commit that the cache holds for a revision. A commit stands for itself:
    /// Python's huggingface_hub writes no ref for one.
    pub(super) fn commit_of(&self, revision: &str) -> Option<String> {
        if names::is_commit(revision) {
            return Some(revision.to_owned());
        }
        let text = fs::read_to_string(self.reference(revision)).ok()?;
        let commit = text.trim();
        names::is_commit(commit).then(|| commit.to_owned())
    }

    pub(super) fn snapshot(&self, commit: &str) -> PathBuf {
        self.layout.pointer_path(commit)
    }

    pub(super) fn file(&self, commit: &str, file: &str) -> PathBuf {
        self.snapshot(commit).join(file)
    }

    pub(super) fn blob(&self, hash: &str) -> PathBuf {
        self.layout.blob_path(hash)
    }

    /// Whether a regular file is there; a link to a blob that is gone does not count.
    pub(super) fn has(&self, commit: &str, file: &str) -> bool {
        self.file(commit, file).is_file()
    }

    /// The first file that a snapshot lacks: a required one, or an optional one that the
    /// repository may have.
    pub(super) fn first_missing(&self, commit: &str) -> Result<Option<String>> {
        let lacks = |file: &str| !self.has(commit, file);
        if let Some(file) = [CONFIG, TOKENIZER].into_iter().find(|file| lacks(file)) {
            return Ok(Some(file.to_owned()));
        }
        if let Some(file) = self.missing_weights(commit)? {
            return Ok(Some(file));
        }
        let unknown = |file: &&str| lacks(file) && !self.is_absent(commit, file);
        Ok(OPTIONAL.into_iter().find(unknown).map(str::to_owned))
    }

    /// The first file of the weights that a snapshot lacks.
    pub(super) fn missing_weights(&self, commit: &str) -> Result<Option<String>> {
        if self.has(commit, WEIGHTS) {
            return Ok(None);
        }
        if !self.has(commit, INDEX) || self.is_occupied(commit, WEIGHTS) {
            return Ok(Some(WEIGHTS.to_owned()));
        }
        Ok(shard_names(&self.file(commit, INDEX))?
            .into_iter()
            .find(|shard| !self.has(commit, shard)))
    }

    /// Records that the repository has no such file, as Python's huggingface_hub does.
    pub(super) fn mark_absent(&self, commit: &str, file: &str) -> Result<()> {
        if self.has(commit, file) || self.is_absent(commit, file) {
            return Ok(());
        }
        let place = self.file(commit, file);
        clear(&place).map_err(|source| Error::Io {
            path: place,
            source,
        })?;
        let marker = self.absence_marker(commit, file);
        match create_parent(&marker).and_then(|()| fs::write(&marker, "")) {
            // Where the cache is shared read-only, the hub is asked again the next time.
            Err(error) if is_read_only(&error) => Ok(()),
            marked => marked.map_err(|source| Error::Io {
                path: marker,
                source,
            }),
        }
    }

    /// Whether the repository is known to have no such file. A link to a blob that is gone says
    /// otherwise, whatever the marker says.
    fn is_absent(&self, commit: &str, file: &str) -> bool {
        !self.is_occupied(commit, file) && self.absence_marker(commit, file).is_file()
    }

    fn absence_marker(&self, commit: &str, file: &str) -> PathBuf {
        self.dir.join(".no_exist").join(commit).join(file)
    }

    /// Whether anything is in the file's place, links to nothing included.
    fn is_occupied(&self, commit: &str, file: &str) -> bool {
        let found = fs::symlink_metadata(self.file(commit, file));
        !matches!(found, Err(error) if error.kind() == io::ErrorKind::NotFound)
    }

    /// Makes a blob visible as a file of the snapshot.
    pub(super) fn link(&self, commit: &str, file: &str, hash: &str) -> Result<()> {
        let pointer = self.file(commit, file);
        let linked = || {
            create_parent(&pointer)?;
            match symlink(&self.blob(hash), file, hash, &pointer) {
                Err(error)
                    if error.kind() == io::ErrorKind::AlreadyExists && !pointer.is_file() =>
                {
                    clear(&pointer)?;
                    symlink(&self.blob(hash), file, hash, &pointer)
                }
                // Another process was faster.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
                linked => linked,
            }
        };
        linked().map_err(|source| Error::Io {
            path: pointer.clone(),
            source,
        })
    }

    /// Records which commit a branch or tag stands for. Readers see the old commit or the new one.
    pub(super) fn write_ref(&self, revision: &str, commit: &str) -> Result<()> {
        static WRITES: AtomicU32 = AtomicU32::new(0);
        let reference = self.reference(revision);
        let write = WRITES.fetch_add(1, Ordering::Relaxed);
        let fresh = self
            .dir
            .join(format!("ref-{}-{write}.tmp", std::process::id()));
        let written = || {
            create_parent(&reference)?;
            fs::write(&fresh, commit)?;
            fs::rename(&fresh, &reference)
        };
        written().map_err(|source| Error::Io {
            path: reference.clone(),
            source,
        })
    }

    fn reference(&self, revision: &str) -> PathBuf {
        self.dir.join("refs").join(revision)
    }
}

/// Clears the place of a file of anything else: a link to nothing, a pipe, an empty directory.
fn clear(place: &Path) -> io::Result<()> {
    match fs::symlink_metadata(place) {
        Ok(found) if found.is_dir() => fs::remove_dir(place),
        Ok(_) => fs::remove_file(place),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

fn is_read_only(error: &io::Error) -> bool {
    use io::ErrorKind::{PermissionDenied, ReadOnlyFilesystem};
    matches!(error.kind(), PermissionDenied | ReadOnlyFilesystem)
}

fn create_parent(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), fs::create_dir_all)
}

/// A relative link, so that the cache can be moved.
#[cfg(unix)]
fn symlink(_blob: &Path, file: &str, hash: &str, pointer: &Path) -> io::Result<()> {
    let up = "../".repeat(2 + file.matches('/').count());
    std::os::unix::fs::symlink(format!("{up}blobs/{hash}"), pointer)
}

/// Links need a privilege on Windows; a second name for the same file does not.
#[cfg(not(unix))]
fn symlink(blob: &Path, _file: &str, _hash: &str, pointer: &Path) -> io::Result<()> {
    fs::hard_link(blob, pointer)
}
