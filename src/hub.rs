//! Model id -> local snapshot directory, in the standard Hugging Face cache.
//!
//! hf-hub supplies the hub's URLs, its reply types and the cache layout. The
//! transfer itself is here, because hf-hub 0.5 (1) sends the token to whatever
//! host a file redirects to, (2) has no timeouts and no way to set them, (3)
//! puts a download under its final name without looking at its content, and
//! (4) joins the server's ETag and commit into local paths unchecked.

mod cache;
mod content;
mod download;
mod env;
mod failure;
mod fetching;
mod http;
mod names;
mod remote;

use std::fmt;
use std::path::PathBuf;

use crate::error::{Error, Result};
use cache::CachedModel;
use failure::{Failure, retried};
use fetching::Fetching;
use remote::Remote;

/// Where models come from and where they are kept.
///
/// ```no_run
/// use qwen3_embedding::Hub;
///
/// let hub = Hub::from_env();
/// let snapshot = hub.fetch("Qwen/Qwen3-Embedding-0.6B", None, &mut |_| ())?;
/// assert!(snapshot.dir.join("config.json").is_file());
/// # Ok::<(), qwen3_embedding::Error>(())
/// ```
#[derive(Clone)]
pub struct Hub {
    cache: PathBuf,
    endpoint: String,
    token: Option<String>,
    network: Network,
}

/// Whether [`Hub::fetch`] may make requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    /// What the cache lacks is downloaded.
    Allowed,
    /// Only the cache is looked at.
    Forbidden,
}

/// A model on the local disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The directory that holds the model's files.
    pub dir: PathBuf,
    /// The model id, `org/name`.
    pub model: String,
    /// The commit that every file in `dir` comes from, 40 hexadecimal digits.
    pub commit: String,
}

/// How far the download of one file has got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress<'a> {
    /// The file's path in the repository.
    pub file: &'a str,
    /// Bytes on disk, those of an earlier attempt included.
    pub done: u64,
    /// Bytes of the whole file.
    pub total: u64,
}

impl Hub {
    /// The hub that the environment describes, as for Hugging Face's own tools.
    ///
    /// | variable | meaning | without it |
    /// |---|---|---|
    /// | `HF_HOME` | directory of everything below | `$XDG_CACHE_HOME/huggingface` or `~/.cache/huggingface` |
    /// | `HF_HUB_CACHE` | the cache | `$HF_HOME/hub` |
    /// | `HF_ENDPOINT` | base URL of the hub | `https://huggingface.co` |
    /// | `HF_TOKEN` | access token | content of `$HF_HOME/token`, if there is one |
    /// | `HF_HUB_OFFLINE` | `1`, `true`, `yes` or `on`: make no request | requests are allowed |
    ///
    /// A variable that is set but empty counts as not set. Proxies
    /// (`HTTPS_PROXY`, `NO_PROXY`) are honoured when a request is made.
    pub fn from_env() -> Self {
        env::hub(|name| std::env::var(name).ok(), std::env::home_dir())
    }

    /// Keeps models in this directory: the one that holds `models--org--name`.
    pub fn cache_dir(mut self, dir: PathBuf) -> Self {
        self.cache = dir;
        self
    }

    /// Asks the hub at this base URL. Only this scheme, host and port ever see the token.
    pub fn endpoint(mut self, url: String) -> Self {
        self.endpoint = url.trim_end_matches('/').to_owned();
        self
    }

    /// Sends this access token, or none.
    pub fn token(mut self, token: Option<String>) -> Self {
        self.token = token;
        self
    }

    /// Allows or forbids requests.
    pub fn network(mut self, network: Network) -> Self {
        self.network = network;
        self
    }

    /// Finds `model` (`org/name`) in the cache, downloading what is missing. Blocks.
    ///
    /// `revision` is a branch, a tag or a commit; `None` means `main`. It is
    /// resolved to one commit first and every file is taken at that commit.
    /// If the cache already has a commit for the revision, that is the one: a
    /// branch that moved on the hub is not noticed. No request is made if the
    /// snapshot is complete, which means that it holds the configuration, the
    /// tokenizer, all weights and each of the optional files (prompts, pooling)
    /// that is not marked as absent from the repository. Else the missing files
    /// are downloaded, and the absent ones marked, where Python's
    /// huggingface_hub has its marks. Contents are checked against the hub's
    /// hashes before they appear in the snapshot.
    ///
    /// `progress` is called for each piece that arrives.
    ///
    /// # Errors
    ///
    /// - [`Error::Option`]: `model` or `revision` is malformed.
    /// - [`Error::ModelNotFound`]: the hub has no such model or revision, or hides it.
    /// - [`Error::Offline`]: a file is missing and requests are forbidden.
    /// - [`Error::Download`]: a required file is not in the repository, or could not
    ///   be had; the reason says whether a token or a licence is wanted.
    /// - [`Error::HashMismatch`]: a file does not have the content that the hub declares.
    /// - [`Error::Json`], [`Error::ShardName`], [`Error::ShardMissing`]: the weight
    ///   index does not parse, or names a shard outside the model or not in it.
    /// - [`Error::Io`]: the cache cannot be read or written.
    pub fn fetch(
        &self,
        model: &str,
        revision: Option<&str>,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Snapshot> {
        let revision = revision.unwrap_or("main");
        names::check_model(model)?;
        names::check_revision(revision)?;

        let cached = CachedModel::new(self.cache.clone(), model);
        let known = cached.commit_of(revision);
        let missing = match &known {
            Some(commit) => match cached.first_missing(commit)? {
                Some(file) => file,
                None => return Ok(snapshot(&cached, model, commit)),
            },
            None => cache::CONFIG.to_owned(),
        };
        if self.network == Network::Forbidden {
            return Err(Error::Offline {
                model: model.to_owned(),
                file: missing,
                cache: self.cache.clone(),
            });
        }

        let remote = Remote::new(&self.endpoint, self.token.as_deref(), model)
            .map_err(|failure| listing_error(model, failure))?;
        // What is missing must be of the same commit as what is there.
        let wanted = known.as_deref().unwrap_or(revision);
        let listing =
            retried(|| remote.listing(wanted)).map_err(|failure| listing_error(model, failure))?;
        let fetching = Fetching {
            remote: &remote,
            cached: &cached,
            model,
            listing: &listing,
        };
        fetching.everything(progress)?;
        if known.is_none() {
            cached.write_ref(revision, &listing.commit)?;
        }
        Ok(snapshot(&cached, model, &listing.commit))
    }
}

// By hand: the token must not end up in a log.
impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub")
            .field("cache", &self.cache)
            .field("endpoint", &self.endpoint)
            .field("token", &self.token.as_ref().map(|_| "(hidden)"))
            .field("network", &self.network)
            .finish()
    }
}

fn snapshot(cached: &CachedModel, model: &str, commit: &str) -> Snapshot {
    Snapshot {
        dir: cached.snapshot(commit),
        model: model.to_owned(),
        commit: commit.to_owned(),
    }
}

fn listing_error(model: &str, failure: Failure) -> Error {
    match failure {
        Failure::Missing(reason) => Error::ModelNotFound {
            model: model.to_owned(),
            reason,
        },
        other => other.into_error(model, "list of files"),
    }
}
