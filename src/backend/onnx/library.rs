//! The ONNX Runtime library: found in a fixed order, loaded once for the whole process.

#[cfg(target_os = "linux")]
mod elf;
mod places;

use std::error::Error as _;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use ort::LoadDynamicError;
use ort::environment::Environment;
use ort::logging::LogLevel;

use crate::error::{Error, Result};
use places::Places;

/// The backend's name in errors.
pub(super) const ONNX: &str = "ONNX Runtime";

/// The loaded library. A process holds one: what is loaded stays until the process ends.
pub(super) struct Library {
    pub(super) environment: Environment,
    pub(super) path: PathBuf,
    pub(super) version: String,
}

/// The oldest minor version of 1 that graphs were tried with.
pub(super) const OLDEST: u32 = 24;

/// What keeps the library from reporting usage.
const SILENCE: &str = "ORT_DISABLE_TELEMETRY";

static LOADED: OnceLock<Library> = OnceLock::new();
/// Held while loading; `ort` looks at `ORT_DYLIB_PATH` or panics if it is used before.
static LOADING: Mutex<()> = Mutex::new(());

/// The process's library; loaded now if it is not yet.
///
/// # Errors
/// [`Error::BackendUnavailable`] where there is none, where it is no ONNX Runtime of a version
/// this crate can use, and where another one than `named` is loaded already.
pub(super) fn load(named: Option<&Path>) -> Result<&'static Library> {
    let places = Places::from_environment(named);
    let _guard = LOADING.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(loaded) = LOADED.get() else {
        check_silenced(std::env::var_os(SILENCE).as_deref())?;
        let library = open(places.find().map_err(unavailable)?)?;
        return Ok(LOADED.get_or_init(|| library));
    };
    match places.named().map_err(unavailable)? {
        Some(path) if !is_same(&path, &loaded.path) => Err(unavailable(format!(
            "{} was asked for, but the process has already loaded {}",
            path.display(),
            loaded.path.display()
        ))),
        _ => Ok(loaded),
    }
}

/// Official builds of 1.29 and later report to their maker as soon as they are loaded, before any
/// call can forbid it. A library must not change its process's environment, where other threads
/// may read it, so this asks for it.
fn check_silenced(value: Option<&OsStr>) -> Result<()> {
    if value == Some(OsStr::new("1")) {
        return Ok(());
    }
    Err(unavailable(format!(
        "it reports usage over the network unless {SILENCE}=1 stands in the environment when it is \
         loaded; set that for the process, or first thing in its main function"
    )))
}

/// The backend cannot be used, for this reason.
pub(super) fn unavailable(reason: String) -> Error {
    Error::BackendUnavailable {
        backend: ONNX.to_owned(),
        reason,
    }
}

fn is_same(a: &Path, b: &Path) -> bool {
    let canonical = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    canonical(a) == canonical(b)
}

fn open(path: PathBuf) -> Result<Library> {
    let _span = tracing::debug_span!("library").entered();
    #[cfg(target_os = "linux")]
    elf::check(&path)
        .map_err(|reason| unavailable(format!("{} does not load: {reason}", path.display())))?;
    let builder = ort::init_from(&path).map_err(|error| unavailable(refusal(&path, &error)))?;
    let minor = ort::util::probe(&path);
    if let Some(found) = minor.filter(|&minor| minor < OLDEST) {
        return Err(unavailable(too_old(&path, &format!("1.{found}"))));
    }
    let environment = builder
        .with_name(env!("CARGO_PKG_NAME"))
        .with_telemetry(false)
        .with_logger(Arc::new(log))
        .build()
        .map_err(|error| unavailable(format!("{}: {error}", path.display())))?;
    environment.set_log_level(LogLevel::Warning);
    Ok(Library {
        environment,
        path,
        version: version(minor, ort::info()),
    })
}

/// Why the file was not taken.
fn refusal(path: &Path, error: &LoadDynamicError) -> String {
    match error {
        LoadDynamicError::Dlopen { error, .. } => {
            // The error itself says only that it failed, its source why.
            let reason = error
                .source()
                .map_or_else(|| error.to_string(), ToString::to_string);
            format!("{} does not load: {reason}", path.display())
        }
        LoadDynamicError::BadVersion { version_str, .. } => too_old(path, version_str),
        LoadDynamicError::MissingApi { .. } => {
            format!(
                "{} is not an ONNX Runtime: it has no OrtGetApiBase",
                path.display()
            )
        }
        LoadDynamicError::InvalidVersionString => {
            format!("{}: its version is not text", path.display())
        }
    }
}

fn too_old(path: &Path, found: &str) -> String {
    let path = path.display();
    format!("{path}: expected version 1.{OLDEST} or newer of version 1, found {found}")
}

/// The branch that a release was built from holds its whole version; other builds tell only the
/// minor one.
fn version(minor: Option<u32>, build: &str) -> String {
    let minor = minor.map_or_else(|| "1".to_owned(), |minor| format!("1.{minor}"));
    let branch = build.split_once("git-branch=rel-").map(|(_, rest)| rest);
    let release = branch.and_then(|rest| rest.split([',', ' ']).next());
    match release {
        Some(release) if release.starts_with(&format!("{minor}.")) => release.to_owned(),
        _ => minor,
    }
}

/// What the library says goes where the program's own events go, not to stderr.
pub(super) fn log(level: LogLevel, _category: &str, _id: &str, location: &str, message: &str) {
    match level {
        LogLevel::Error | LogLevel::Fatal => tracing::error!(location, "{message}"),
        LogLevel::Warning => tracing::warn!(location, "{message}"),
        LogLevel::Info => tracing::debug!(location, "{message}"),
        LogLevel::Verbose => tracing::trace!(location, "{message}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_the_releases_or_at_least_the_minor_one() {
        let release =
            "ORT Build Info: git-branch=rel-1.31.1, git-commit-id=0a1b2c, build type=Release";
        assert_eq!(version(Some(31), release), "1.31.1");
        assert_eq!(version(Some(24), release), "1.24");
        assert_eq!(version(Some(24), "git-branch=main, x"), "1.24");
        assert_eq!(version(None, ""), "1");
    }

    #[test]
    fn a_library_that_would_report_usage_is_not_loaded() {
        assert!(check_silenced(Some(OsStr::new("1"))).is_ok());
        for value in [None, Some(OsStr::new("")), Some(OsStr::new("0"))] {
            assert_eq!(
                check_silenced(value).unwrap_err().to_string(),
                "ONNX Runtime: not available: it reports usage over the network unless \
                 ORT_DISABLE_TELEMETRY=1 stands in the environment when it is loaded; set that for \
                 the process, or first thing in its main function"
            );
        }
    }
}
