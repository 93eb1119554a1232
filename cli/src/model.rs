//! From `--model` to a directory.

mod built_in;
#[cfg(feature = "hub")]
mod download;

use std::path::{Path, PathBuf};

use qwen3_embedding::{Embedder, EmbedderBuilder};
#[cfg(feature = "hub")]
use qwen3_embedding::{Hub, Network};
use tempfile::TempDir;

use crate::args::ModelArgs;
use crate::failure::Failure;

/// A model on the local disk. It must outlive the embedder made from it.
pub(crate) struct Model {
    /// What results call it.
    pub(crate) name: String,
    pub(crate) dir: PathBuf,
    source: Source,
    /// The built-in model's directory, removed at the end.
    unpacked: Option<TempDir>,
}

/// Where the files come from, which is a part of what their vectors are known by.
#[derive(Clone)]
enum Source {
    Directory(PathBuf),
    /// Downloaded before; read again from the cache.
    #[cfg(feature = "hub")]
    Hub {
        id: String,
        commit: String,
    },
}

impl Source {
    fn builder(&self) -> EmbedderBuilder {
        match self {
            Self::Directory(dir) => Embedder::from_dir(dir),
            #[cfg(feature = "hub")]
            Self::Hub { id, commit } => Embedder::from_hub(id)
                .revision(commit)
                .hub(Hub::from_env().network(Network::Forbidden)),
        }
    }
}

impl Model {
    /// Finds the model that was asked for: a directory, an id, or the built-in one.
    pub(crate) fn find(args: &ModelArgs) -> Result<Self, Failure> {
        match args.model.as_deref() {
            None | Some("") => {
                refuse_revision(args, "the built-in model")?;
                built_in::unpack()
            }
            Some(name) if Path::new(name).is_dir() => {
                refuse_revision(args, &format!("the directory {name}"))?;
                directory(Path::new(name))
            }
            Some(id) if is_id(id) => hub(args, id),
            Some(name) => Err(Failure::Runtime(format!(
                "model {name:?} was not found: there is no such directory, and it is not an id \
                 of the form organisation/name"
            ))),
        }
    }

    /// Where the user can find the model; the built-in one is gone after the run.
    pub(crate) fn directory(&self) -> Option<&Path> {
        match self.unpacked {
            Some(_) => None,
            None => Some(&self.dir),
        }
    }

    /// Where the built-in model lies for the time of the run.
    #[cfg(feature = "serve")]
    pub(crate) fn unpacked(&self) -> Option<PathBuf> {
        let dir = self.unpacked.as_ref()?;
        Some(dir.path().to_owned())
    }

    /// A builder for this model with the options of `args`.
    pub(crate) fn builder(&self, args: &ModelArgs) -> EmbedderBuilder {
        args.apply(self.source.builder())
    }

    /// The same for another thread, as often as it asks.
    #[cfg(any(feature = "bench", feature = "serve"))]
    pub(crate) fn maker(
        &self,
        args: &ModelArgs,
    ) -> impl FnMut() -> qwen3_embedding::Result<Embedder> + Send + use<> {
        let (source, args) = (self.source.clone(), args.clone());
        move || args.apply(source.builder()).build()
    }
}

fn directory(path: &Path) -> Result<Model, Failure> {
    let dir = path
        .canonicalize()
        .map_err(|error| Failure::io(path.display(), &error))?;
    let name = dir.file_name().unwrap_or(dir.as_os_str());
    Ok(Model {
        name: name.to_string_lossy().into_owned(),
        source: Source::Directory(dir.clone()),
        dir,
        unpacked: None,
    })
}

/// Whether `text` has the form of an id: two names with a slash between.
fn is_id(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let name = |part: &str| !part.is_empty() && !part.starts_with('.') && part.chars().all(plain);
    text.split_once('/')
        .is_some_and(|(organisation, model)| name(organisation) && name(model))
}

#[cfg(feature = "hub")]
fn hub(args: &ModelArgs, id: &str) -> Result<Model, Failure> {
    let snapshot = download::fetch(id, args.revision.as_deref(), args.offline)?;
    Ok(Model {
        name: id.to_owned(),
        source: Source::Hub {
            id: id.to_owned(),
            commit: snapshot.commit,
        },
        dir: snapshot.dir,
        unpacked: None,
    })
}

#[cfg(not(feature = "hub"))]
fn hub(_: &ModelArgs, id: &str) -> Result<Model, Failure> {
    Err(Failure::Runtime(format!(
        "model {id:?} was not found: there is no such directory, and this program was built \
         without model ids (feature hub)"
    )))
}

#[cfg(feature = "hub")]
fn refuse_revision(args: &ModelArgs, model: &str) -> Result<(), Failure> {
    match args.revision {
        Some(_) => Err(Failure::Usage(format!(
            "'--revision' is for a model id and cannot be used with {model}"
        ))),
        None => Ok(()),
    }
}

#[cfg(not(feature = "hub"))]
fn refuse_revision(_: &ModelArgs, _: &str) -> Result<(), Failure> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::is_id;

    #[test]
    fn an_id_is_two_names_with_a_slash_between() {
        assert!(is_id("Qwen/Qwen3-Embedding-0.6B"));
        for other in [
            "Qwen", "./model", "../model", "/model", "a/", "a/b/c", "a b/c", "",
        ] {
            assert!(!is_id(other), "{other}");
        }
    }
}
