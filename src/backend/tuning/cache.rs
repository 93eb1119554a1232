//! What was measured, on disk: a small JSON file for each model on each machine.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::Outcome;
use crate::file::{self, write_atomically};

/// More than any file of this kind has.
const MOST_BYTES: u64 = 64 << 10;

/// More threads than any machine has, more tokens than any batch: a file that says so is damaged.
const MOST: usize = 1 << 16;

/// Where the outcome for one key is kept.
pub(super) struct Cache {
    key: String,
    path: PathBuf,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    key: String,
    threads: Option<usize>,
    batch_tokens: Option<usize>,
}

impl Cache {
    pub(super) fn new(dir: &Path, key: String) -> Self {
        let digest = Sha256::digest(&key);
        let name: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        Self {
            path: dir.join(format!("{name}.json")),
            key,
        }
    }

    /// `None` where there is no file, or none that is whole and about this key.
    pub(super) fn read(&self) -> Option<Outcome> {
        match self.try_read() {
            Ok(found) => Some(found),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                // A field of another name than `file`: that names files which a start reads.
                let path = self.path.display();
                tracing::warn!(%path, "what was measured for this machine is of no use: {error}");
                None
            }
        }
    }

    /// Whether [`write`](Self::write) would succeed.
    pub(super) fn check_writable(&self) -> io::Result<()> {
        let fresh = self.path.with_extension("try");
        let written = write_atomically(&fresh, |_| Ok(()));
        written.and_then(|()| fs::remove_file(&fresh))
    }

    pub(super) fn write(&self, outcome: Outcome) {
        let kept = Kept {
            key: self.key.clone(),
            threads: outcome.threads,
            batch_tokens: outcome.batch_tokens,
        };
        let text = serde_json::to_vec_pretty(&kept).map_err(io::Error::from);
        let written =
            text.and_then(|text| write_atomically(&self.path, |out| out.write_all(&text)));
        if let Err(error) = written {
            let path = self.path.display();
            tracing::warn!(%path, "what was measured is not kept: {error}");
        }
    }

    fn try_read(&self) -> io::Result<Outcome> {
        let damaged = |reason: &str| io::Error::new(io::ErrorKind::InvalidData, reason);
        let (file, bytes) = file::open(&self.path)?;
        if bytes > MOST_BYTES {
            return Err(damaged("it is too long"));
        }
        let kept: Kept = serde_json::from_reader(io::BufReader::new(file))?;
        if kept.key != self.key {
            return Err(damaged("it is about another model or machine"));
        }
        for number in [kept.threads, kept.batch_tokens].into_iter().flatten() {
            if !(1..=MOST).contains(&number) {
                return Err(damaged("a number is out of range"));
            }
        }
        Ok(Outcome {
            threads: kept.threads,
            batch_tokens: kept.batch_tokens,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTCOME: Outcome = Outcome {
        threads: Some(3),
        batch_tokens: None,
    };

    #[test]
    fn what_was_written_is_read_for_the_same_key_only() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("not/there/yet");
        let cache = Cache::new(&dir, "a".to_owned());
        assert_eq!(cache.read(), None);
        cache.check_writable().unwrap();
        cache.write(OUTCOME);
        assert_eq!(cache.read(), Some(OUTCOME));
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 1);
        let other = Cache::new(&dir, "b".to_owned());
        assert_eq!(other.read(), None);
        fs::copy(&cache.path, &other.path).unwrap();
        assert_eq!(
            other.try_read().unwrap_err().to_string(),
            "it is about another model or machine"
        );
        assert_eq!(other.read(), None);
    }

    #[test]
    fn a_damaged_file_is_ignored_and_written_anew() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::new(dir.path(), "a".to_owned());
        for damaged in [
            "",
            "{",
            r#"{"key": "a", "threads": 0, "batch_tokens": null}"#,
            r#"{"key": "a", "threads": 100000, "batch_tokens": null}"#,
            r#"{"key": "a", "threads": -1, "batch_tokens": 512}"#,
            r#"{"key": "a", "threads": 2, "batch_tokens": 512, "more": 1}"#,
            &" ".repeat(MOST_BYTES as usize + 1),
        ] {
            fs::write(&cache.path, damaged).unwrap();
            assert_eq!(cache.read(), None, "{damaged:.80}");
        }
        cache.write(OUTCOME);
        assert_eq!(cache.read(), Some(OUTCOME));
    }

    #[test]
    fn a_directory_that_cannot_be_written_to_says_so_and_can_be_read() {
        // No directory can be made below a file.
        let file = tempfile::NamedTempFile::new().unwrap();
        let cache = Cache::new(&file.path().join("tuning"), "a".to_owned());
        assert!(cache.check_writable().is_err());
        cache.write(OUTCOME);
        assert_eq!(cache.read(), None);
    }
}
