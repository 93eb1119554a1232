//! Where results go: stdout, or a file that appears whole or not at all.

use std::fs::{self, File};
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::failure::Failure;

/// An open destination. Opened before the work, so that a wrong path fails before it.
pub(crate) struct Output {
    name: String,
    target: Target,
}

enum Target {
    Stdout,
    /// A pipe or device, which must not be replaced by a file.
    Special(File),
    /// Written beside `path`, then renamed to it; removed if dropped before.
    File {
        new: NamedTempFile,
        path: PathBuf,
    },
}

impl Output {
    /// Standard output.
    pub(crate) fn stdout() -> Self {
        Self {
            name: "stdout".to_owned(),
            target: Target::Stdout,
        }
    }

    /// The file at `path`, or standard output for `-`.
    pub(crate) fn at(path: &Path) -> Result<Self, Failure> {
        if path.as_os_str() == "-" {
            return Ok(Self::stdout());
        }
        let name = path.display().to_string();
        let target = open(path).map_err(|error| Failure::io(&name, &error))?;
        Ok(Self { name, target })
    }

    /// Whether a person would see what is written.
    pub(crate) fn is_terminal(&self) -> bool {
        match &self.target {
            Target::Stdout => io::stdout().is_terminal(),
            Target::Special(file) => file.is_terminal(),
            Target::File { .. } => false,
        }
    }

    /// Writes everything that `produce` gives, then puts the file in its place.
    pub(crate) fn write(
        self,
        produce: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> Result<(), Failure> {
        let written = match self.target {
            Target::Stdout => match flushed(io::stdout().lock(), produce) {
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                    return Err(Failure::ClosedPipe);
                }
                written => written,
            },
            Target::Special(file) => flushed(file, produce),
            Target::File { mut new, path } => flushed(&mut new, produce)
                .and_then(|()| new.as_file().sync_all())
                .and_then(|()| new.persist(path).map(drop).map_err(|failed| failed.error)),
        };
        written.map_err(|error| Failure::io(self.name, &error))
    }
}

fn open(path: &Path) -> io::Result<Target> {
    match fs::metadata(path) {
        Ok(found) if found.is_dir() => return Err(io::ErrorKind::IsADirectory.into()),
        Ok(found) if !found.is_file() => {
            let file = File::options().write(true).open(path)?;
            return Ok(Target::Special(file));
        }
        _ => {}
    }
    // The file that a link names is replaced, not the link.
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let parent = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    // Not tempfile's own way of opening, which lets nobody else read the file.
    let new = tempfile::Builder::new()
        .prefix(".qwen3-embed-")
        .make_in(parent, |path| File::create_new(path))?;
    Ok(Target::File { new, path })
}

fn flushed(
    out: impl Write,
    produce: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> io::Result<()> {
    let mut out = BufWriter::new(out);
    produce(&mut out)?;
    out.flush()
}
