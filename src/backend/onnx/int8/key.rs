//! Which checkpoint a cache file was made from: the SHA-256 of all that the quantiser reads.
//!
//! Hashing takes as long as reading the weights. So it is done once, and remembered under the
//! files' names, lengths, times of change and inodes.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::checkpoint::Checkpoint;
use crate::config::ModelConfig;
use crate::error::Result;
use crate::file::write_atomically;

/// Changes whenever the same checkpoint would give other weights or another file.
const VERSION: &str = "3";

/// What else the file depends on: its format, and the order in which this processor reads weights.
fn kind() -> String {
    format!("{VERSION} {}", kernels::order())
}

/// The key of a checkpoint, as hexadecimal digits.
pub(super) fn of(dir: &Path, checkpoint: &Checkpoint, config: &ModelConfig) -> Result<String> {
    let Some(stamp) = checkpoint.stamp() else {
        return hash(checkpoint, config);
    };
    let stamp = digits(Sha256::digest(format!("{} {config:?} {stamp}", kind())));
    let file: PathBuf = dir.join(format!("{stamp}.key"));
    if let Some(key) = fs::read_to_string(&file).ok().filter(|key| is_key(key)) {
        return Ok(key);
    }
    let key = hash(checkpoint, config)?;
    if let Err(error) = write_atomically(&file, |out| out.write_all(key.as_bytes())) {
        tracing::debug!(file = %file.display(), "not remembered: {error}");
    }
    Ok(key)
}

fn hash(checkpoint: &Checkpoint, config: &ModelConfig) -> Result<String> {
    let mut hash = Sha256::new();
    hash.update(format!("{} {config:?}", kind()));
    for key in checkpoint.keys() {
        let tensor = checkpoint.tensor(key)?;
        hash.update(format!("\n{key} {} {:?}\n", tensor.dtype(), tensor.shape()));
        tensor.for_each_window(|window| {
            hash.update(window);
            Ok(())
        })?;
    }
    Ok(digits(hash.finalize()))
}

fn digits(hash: impl AsRef<[u8]>) -> String {
    hash.as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

fn is_key(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}
