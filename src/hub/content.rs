//! The hash by which the hub names a file's content.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use sha1::Sha1;
use sha2::{Digest, Sha256};

use super::names::is_hex;

/// What an ETag of the hub stands for. Blobs in the cache bear this name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ContentHash {
    /// A large file: SHA-256 of the content.
    Sha256(String),
    /// A file kept in git itself: SHA-1 of `blob {length}\0` and the content.
    GitBlob(String),
}

impl ContentHash {
    /// The hash in an ETag, or nothing if it is not one that can be checked.
    pub(super) fn parse(etag: &str) -> Option<Self> {
        let hash = etag.strip_prefix("W/").unwrap_or(etag).trim_matches('"');
        match hash.len() {
            64 if is_hex(hash, 64) => Some(Self::Sha256(hash.to_owned())),
            40 if is_hex(hash, 40) => Some(Self::GitBlob(hash.to_owned())),
            _ => None,
        }
    }

    pub(super) fn as_str(&self) -> &str {
        match self {
            Self::Sha256(hash) | Self::GitBlob(hash) => hash,
        }
    }

    pub(super) fn algorithm(&self) -> &'static str {
        match self {
            Self::Sha256(_) => "SHA-256",
            Self::GitBlob(_) => "git SHA-1",
        }
    }

    /// The hash of this kind that the file has.
    pub(super) fn of_file(&self, path: &Path) -> io::Result<String> {
        let file = File::open(path)?;
        match self {
            Self::Sha256(_) => digest(Sha256::new(), file),
            Self::GitBlob(_) => {
                let header = format!("blob {}\0", file.metadata()?.len());
                digest(Sha1::new().chain_update(header), file)
            }
        }
    }
}

fn digest<D: Digest>(mut state: D, mut file: File) -> io::Result<String> {
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            read => state.update(&buffer[..read]),
        }
    }
    Ok(state
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    // `printf 'hello\n' | sha256sum` and `printf 'hello\n' | git hash-object --stdin`.
    const SHA256: &str = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03";
    const GIT: &str = "ce013625030ba8dba906f756967f9e9ca394464a";

    #[test]
    fn hashes_agree_with_sha256sum_and_git() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("hello");
        std::fs::write(&path, "hello\n").unwrap();
        for hash in [SHA256, GIT] {
            assert_eq!(
                ContentHash::parse(hash).unwrap().of_file(&path).unwrap(),
                hash
            );
        }
    }

    #[test]
    fn only_plain_hashes_are_accepted() {
        assert_eq!(
            ContentHash::parse(&format!("\"{GIT}\"")).unwrap().as_str(),
            GIT
        );
        assert_eq!(
            ContentHash::parse(&format!("W/\"{GIT}\""))
                .unwrap()
                .as_str(),
            GIT
        );
        let upper = GIT.to_uppercase();
        let dots = format!("../{}", &GIT[3..]);
        for etag in ["", "x", "../../etc/passwd", &GIT[1..], &upper, &dots] {
            assert_eq!(ContentHash::parse(etag), None, "{etag}");
        }
    }
}
