//! Where a model comes from: a directory, or a hub.

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
#[cfg(feature = "hub")]
use crate::hub::{Hub, Network, Progress};

/// What an [`Embedder`](super::Embedder) is made from.
pub(super) enum Source {
    Dir(PathBuf),
    #[cfg(feature = "hub")]
    Hub {
        id: String,
        revision: Option<String>,
        hub: Hub,
        progress: Box<dyn FnMut(Progress<'_>)>,
    },
}

/// A model's files and name.
pub(super) struct Found {
    pub(super) dir: PathBuf,
    pub(super) model: String,
    /// Where they came from a hub: the id and the commit.
    pub(super) hub: Option<(String, String)>,
}

impl Source {
    /// The directory, if it is on this machine already.
    pub(super) fn local(&self) -> Option<PathBuf> {
        match self {
            Self::Dir(dir) => Some(dir.clone()),
            #[cfg(feature = "hub")]
            Self::Hub {
                id, revision, hub, ..
            } => {
                let hub = hub.clone().network(Network::Forbidden);
                let snapshot = hub.fetch(id, revision.as_deref(), &mut |_| {});
                Some(snapshot.ok()?.dir)
            }
        }
    }

    /// The files, which a hub may first have to give.
    pub(super) fn resolve(self) -> Result<Found> {
        match self {
            Self::Dir(dir) if dir.is_dir() => Ok(Found {
                model: directory_name(&dir),
                dir,
                hub: None,
            }),
            Self::Dir(dir) => Err(Error::ModelNotFound {
                model: dir.display().to_string(),
                reason: "there is no such directory".to_owned(),
            }),
            #[cfg(feature = "hub")]
            Self::Hub {
                id,
                revision,
                hub,
                mut progress,
            } => {
                let snapshot = hub.fetch(&id, revision.as_deref(), &mut *progress)?;
                Ok(Found {
                    dir: snapshot.dir,
                    hub: Some((id.clone(), snapshot.commit)),
                    model: id,
                })
            }
        }
    }
}

fn directory_name(dir: &Path) -> String {
    let absolute = dir.canonicalize().unwrap_or_else(|_| dir.to_owned());
    absolute.file_name().map_or_else(
        || dir.display().to_string(),
        |name| name.to_string_lossy().into_owned(),
    )
}
