//! The tensors of a model directory, whatever shards they are in.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Stored;
use super::index::Index;
use super::shard::Shard;
use crate::error::{Error, Result};

/// Every tensor in the directory's shards, by key without `model.`.
pub(super) fn find(dir: &Path) -> Result<BTreeMap<String, Stored>> {
    let single = dir.join("model.safetensors");
    if exists(&single)? {
        let mut found = BTreeMap::new();
        add(&mut found, single)?;
        return Ok(found);
    }
    let index = dir.join("model.safetensors.index.json");
    if !exists(&index)? {
        let expected = "the weights (or model.safetensors.index.json and its shards)";
        return Err(Error::MissingFile {
            path: single,
            expected,
        });
    }
    find_sharded(Index::read(index)?)
}

fn find_sharded(index: Index) -> Result<BTreeMap<String, Stored>> {
    let mut found = BTreeMap::new();
    for shard in index.shards() {
        add(&mut found, index.shard_path(shard)?)?;
    }
    index.agree(
        found
            .values()
            .map(|stored: &Stored| (stored.entry.name.as_str(), stored.shard.name())),
    )?;
    Ok(found)
}

/// Adds the tensors of the shard at `path`.
fn add(found: &mut BTreeMap<String, Stored>, path: PathBuf) -> Result<()> {
    let (shard, entries) = Shard::open(path)?;
    let shard = Arc::new(shard);
    for entry in entries {
        let key = entry
            .name
            .strip_prefix("model.")
            .unwrap_or(&entry.name)
            .to_owned();
        if let Some(first) = found.get(&key) {
            let (path, other) = (shard.path.clone(), first.shard.path.clone());
            return Err(Error::TensorDuplicate {
                path,
                tensor: entry.name,
                other,
            });
        }
        found.insert(
            key,
            Stored {
                shard: Arc::clone(&shard),
                entry,
            },
        );
    }
    Ok(())
}

fn exists(path: &Path) -> Result<bool> {
    path.try_exists().map_err(|source| Error::Io {
        path: path.to_owned(),
        source,
    })
}
