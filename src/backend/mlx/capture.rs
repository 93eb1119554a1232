//! A `.gputrace` of what Metal runs.

use std::path::Path;

use super::array::failed;
use super::ffi::bridge;
use crate::error::{Error, Result};

/// Without it Metal records nothing.
const VARIABLE: &str = "MTL_CAPTURE_ENABLED";

/// Records into `file` what the GPU does during `work`.
pub(super) fn around<T>(file: &Path, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let path = checked(
        file,
        bridge::metal_is_available().map_err(|error| failed("metal_is_available", error))?,
        std::env::var_os(VARIABLE).is_some_and(|value| value == "1"),
    )?;
    bridge::start_capture(&path).map_err(|error| failed("start_capture", error))?;
    let result = work();
    bridge::stop_capture().map_err(|error| failed("stop_capture", error))?;
    result
}

/// The path as Metal takes it: absolute.
fn checked(file: &Path, metal: bool, enabled: bool) -> Result<String> {
    let refused = |reason: String| Error::BackendUnavailable {
        backend: "a GPU trace".to_owned(),
        reason,
    };
    if !metal {
        let reason = "Metal records it, and this build of MLX finds no Metal device";
        return Err(refused(reason.to_owned()));
    }
    if !enabled {
        let reason = format!("Metal records only where {VARIABLE}=1 stands in the environment");
        return Err(refused(reason));
    }
    if file.exists() {
        return Err(refused(format!("{} exists", file.display())));
    }
    let path = std::path::absolute(file).map_err(|error| failed("start_capture", error))?;
    match path.to_str() {
        Some(path) => Ok(path.to_owned()),
        None => Err(refused(format!("{} is not UTF-8", path.display()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_keeps_metal_from_recording_is_named() {
        let reason = |metal, enabled| {
            let refused = checked(Path::new("new.gputrace"), metal, enabled);
            refused.map_err(|error| error.to_string())
        };
        assert_eq!(
            reason(false, true).unwrap_err(),
            "a GPU trace: not available: Metal records it, and this build of MLX finds no Metal device"
        );
        assert_eq!(
            reason(true, false).unwrap_err(),
            "a GPU trace: not available: Metal records only where MTL_CAPTURE_ENABLED=1 stands in the \
             environment"
        );
        assert!(Path::new(&reason(true, true).unwrap()).is_absolute());
    }
}
