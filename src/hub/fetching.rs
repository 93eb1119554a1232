//! The files of one commit, in the order that keeps an interrupted snapshot incomplete.

use super::Progress;
use super::cache::{self, CachedModel};
use super::download::Download;
use super::failure::{Failure, retried};
use super::remote::{Listing, Remote};
use crate::checkpoint::shard_names;
use crate::error::{Error, Result};

/// One commit of one model on its way into the cache.
pub(super) struct Fetching<'a> {
    pub(super) remote: &'a Remote<'a>,
    pub(super) cached: &'a CachedModel,
    pub(super) model: &'a str,
    pub(super) listing: &'a Listing,
}

impl Fetching<'_> {
    /// Every file that the snapshot lacks. `config.json` comes last: a snapshot that an
    /// interrupted call leaves behind is then never taken for a complete one.
    pub(super) fn everything(&self, progress: &mut dyn FnMut(Progress<'_>)) -> Result<()> {
        self.listed(cache::CONFIG)?;
        self.listed(cache::TOKENIZER)?;
        if !self.listing.has(cache::INDEX) {
            self.listed(cache::WEIGHTS)?;
        }

        for file in cache::OPTIONAL {
            if self.listing.has(file) {
                self.file(file, progress)?;
            } else {
                self.cached.mark_absent(&self.listing.commit, file)?;
            }
        }
        self.file(cache::TOKENIZER, progress)?;
        self.weights(progress)?;
        self.file(cache::CONFIG, progress)
    }

    fn weights(&self, progress: &mut dyn FnMut(Progress<'_>)) -> Result<()> {
        let commit = &self.listing.commit;
        if self.cached.missing_weights(commit)?.is_none() {
            return Ok(());
        }
        if self.listing.has(cache::WEIGHTS) {
            return self.file(cache::WEIGHTS, progress);
        }
        self.cached.mark_absent(commit, cache::WEIGHTS)?;
        self.file(cache::INDEX, progress)?;
        let index = self.cached.file(commit, cache::INDEX);
        let shards = shard_names(&index)?;
        if let Some(shard) = shards.iter().find(|shard| !self.listing.has(shard)) {
            return Err(Error::ShardMissing {
                index,
                shard: shard.clone(),
            });
        }
        shards
            .iter()
            .try_for_each(|shard| self.file(shard, progress))
    }

    fn listed(&self, file: &str) -> Result<()> {
        if self.listing.has(file) {
            return Ok(());
        }
        let reason = format!(
            "the repository does not hold it at commit {}",
            self.listing.commit
        );
        Err(Failure::Permanent(reason).into_error(self.model, file))
    }

    fn file(&self, file: &str, progress: &mut dyn FnMut(Progress<'_>)) -> Result<()> {
        let commit = &self.listing.commit;
        if self.cached.has(commit, file) {
            return Ok(());
        }
        let info = retried(|| self.remote.file_info(commit, file))
            .map_err(|failure| failure.into_error(self.model, file))?;
        let download = Download {
            remote: self.remote,
            model: self.model,
            commit,
            file,
            info: &info,
            blob: self.cached.blob(info.hash.as_str()),
        };
        download.run(progress)?;
        self.cached.link(commit, file, info.hash.as_str())
    }
}
