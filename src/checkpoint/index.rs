//! `model.safetensors.index.json`: which shard each tensor is in.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::error::{Error, Result};
use crate::json;

/// The index of a sharded checkpoint. Shards are plain file names.
pub(super) struct Index {
    path: PathBuf,
    /// Key as written -> shard.
    weight_map: BTreeMap<String, String>,
}

impl Index {
    pub(super) fn read(path: PathBuf) -> Result<Self> {
        let text = json::read(&path, "the index of the shards")?;
        let mut root = json::parse_object(&path, &text)?;
        let found = match root.remove("weight_map") {
            Some(Value::Object(map)) => map,
            other => return Err(invalid(&path, "weight_map", "an object", other.as_ref())),
        };
        let mut weight_map = BTreeMap::new();
        for (key, shard) in found {
            json::check_name(&key).map_err(|reason| json::invalid(&path, reason))?;
            let Value::String(shard) = shard else {
                return Err(invalid(&path, &key, "a shard", Some(&shard)));
            };
            check_shard_name(&path, &shard)?;
            weight_map.insert(key, shard);
        }
        Ok(Self { path, weight_map })
    }

    /// Each shard once, in order.
    pub(super) fn shards(&self) -> BTreeSet<&str> {
        self.weight_map.values().map(String::as_str).collect()
    }

    /// The path of `shard`, which must be there.
    pub(super) fn shard_path(&self, shard: &str) -> Result<PathBuf> {
        let path = self.path.with_file_name(shard);
        match path.try_exists() {
            Ok(true) => Ok(path),
            Ok(false) => Err(Error::ShardMissing {
                index: self.path.clone(),
                shard: shard.to_owned(),
            }),
            Err(source) => Err(Error::Io { path, source }),
        }
    }

    /// Checks that the tensor was found where the index has it; `None` is `no shard`.
    pub(super) fn agree<'a>(&self, found: impl Iterator<Item = (&'a str, &'a str)>) -> Result<()> {
        let found: BTreeMap<&str, &str> = found.collect();
        let indexed = self.weight_map.keys().map(String::as_str);
        for tensor in indexed.chain(found.keys().copied()) {
            let expected = self.weight_map.get(tensor).map_or(NO_SHARD, String::as_str);
            let found = found.get(tensor).copied().unwrap_or(NO_SHARD);
            if expected != found {
                return Err(Error::ShardIndex {
                    index: self.path.clone(),
                    tensor: tensor.to_owned(),
                    expected: expected.to_owned(),
                    found: found.to_owned(),
                });
            }
        }
        Ok(())
    }
}

/// The shards that the index at `path` names: at least one, each once, in order.
#[cfg(feature = "hub")]
pub(crate) fn shard_names(path: &Path) -> Result<Vec<String>> {
    let index = Index::read(path.to_owned())?;
    let shards: Vec<String> = index.shards().into_iter().map(str::to_owned).collect();
    if shards.is_empty() {
        let reason = "weight_map: expected at least one tensor, found none".to_owned();
        return Err(json::invalid(path, reason));
    }
    Ok(shards)
}

const NO_SHARD: &str = "no shard";

fn invalid(path: &Path, key: &str, expected: &str, found: Option<&Value>) -> Error {
    let found = found.map_or("nothing".to_owned(), json::shown);
    json::invalid(path, format!("{key}: expected {expected}, found {found}"))
}

/// A shard must lie in the model directory, on every platform: no separators, no drives, no parents.
fn check_shard_name(index: &Path, shard: &str) -> Result<()> {
    let special = |c: char| matches!(c, '/' | '\\' | ':') || c.is_control();
    if matches!(shard, "" | "." | "..") || shard.contains(special) || shard.len() > json::MAX_NAME {
        return Err(Error::ShardName {
            index: index.to_owned(),
            shard: json::shorten(shard),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_are_plain_file_names() {
        let check = |name: &str| check_shard_name(Path::new("index"), name);
        for name in [
            "model-00001-of-00002.safetensors",
            "a b.safetensors",
            "..x",
            ".hidden",
        ] {
            assert!(check(name).is_ok(), "{name}");
        }
        for name in [
            "", ".", "..", "../x", "/x", "a/b", "a/", "./a", "a\\b", "c:a", "a\0b", "a\nb",
        ] {
            assert!(check(name).is_err(), "{name:?}");
        }
        assert!(check(&"a".repeat(256)).is_err());
    }
}
