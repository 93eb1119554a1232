//! Every environment variable that build scripts of this workspace read, in one table.

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;

/// An existing MLX to link instead of a wheel: a prefix with `include/mlx` and `lib`.
pub const MLX_DIR: &str = "MLX_DIR";
/// An existing ONNX Runtime library to load instead of a wheel's; also read at run time.
pub(crate) const ONNXRUNTIME: &str = "QWEN3_ONNXRUNTIME";
/// The folder that wheels are unpacked into.
pub(crate) const CACHE: &str = "QWEN3_NATIVE_CACHE";
/// `1`: never fetch; what is in the cache still serves.
pub(crate) const OFFLINE: &str = "QWEN3_NATIVE_OFFLINE";
/// The Python whose pip fetches wheels.
pub(crate) const PYTHON: &str = "QWEN3_NATIVE_PYTHON";
/// The oldest macOS that the build must run on.
pub(crate) const DEPLOYMENT_TARGET: &str = "MACOSX_DEPLOYMENT_TARGET";

const ALL: [&str; 6] = [
    MLX_DIR,
    ONNXRUNTIME,
    CACHE,
    OFFLINE,
    PYTHON,
    DEPLOYMENT_TARGET,
];

/// Tells cargo to run the build script again when any of the variables changes.
#[allow(
    clippy::print_stdout,
    reason = "this is how a build script talks to cargo"
)]
pub fn register() {
    for name in ALL {
        println!("cargo::rerun-if-env-changed={name}");
    }
}

/// The Python to ask: `QWEN3_NATIVE_PYTHON`, else `python3`.
pub fn python() -> OsString {
    set(PYTHON).unwrap_or_else(|| "python3".into())
}

/// The MLX that the user names in `MLX_DIR`, as an absolute path: it ends up in programs.
pub fn mlx_dir() -> Option<PathBuf> {
    absolute(MLX_DIR)
}

/// The ONNX Runtime library that the user names in `QWEN3_ONNXRUNTIME`, as an absolute path.
pub fn onnxruntime() -> Option<PathBuf> {
    absolute(ONNXRUNTIME)
}

/// Whether fetching is forbidden.
pub(crate) fn offline() -> bool {
    set(OFFLINE).is_some_and(|value| value != "0")
}

/// The value of a variable as a path, where set and not empty.
pub(crate) fn path(name: &str) -> Option<PathBuf> {
    set(name).map(PathBuf::from)
}

fn absolute(name: &str) -> Option<PathBuf> {
    let path = path(name)?;
    Some(std::path::absolute(&path).unwrap_or(path))
}

fn set(name: &str) -> Option<OsString> {
    env::var_os(name).filter(|value| !value.is_empty())
}
