//! Where this crate keeps what it can make again.

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;

/// The directory of quantised weights: what `QWEN3_QUANTIZED_CACHE` names, else
/// `qwen3-embedding/quantized` in the user's cache directory. `None` where there is none.
#[cfg(feature = "onnx")]
pub(crate) fn quantized() -> Option<PathBuf> {
    chosen("QWEN3_QUANTIZED_CACHE", "quantized", &from_environment)
}

/// The directory of what was measured: what `QWEN3_TUNING_CACHE` names, else
/// `qwen3-embedding/tuning` in the user's cache directory. `None` where there is none.
pub(crate) fn tuning() -> Option<PathBuf> {
    chosen("QWEN3_TUNING_CACHE", "tuning", &from_environment)
}

fn from_environment(name: &str) -> Option<OsString> {
    env::var_os(name).filter(|value| !value.is_empty())
}

fn chosen(
    named: &str,
    folder: &str,
    variable: &dyn Fn(&str) -> Option<OsString>,
) -> Option<PathBuf> {
    if let Some(named) = variable(named) {
        return Some(named.into());
    }
    let home = |folder: &str| Some(PathBuf::from(variable("HOME")?).join(folder));
    let user = match env::consts::OS {
        "macos" => home("Library/Caches"),
        "windows" => variable("LOCALAPPDATA").map(PathBuf::from),
        // The specification has a relative path ignored.
        _ => variable("XDG_CACHE_HOME")
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
            .or_else(|| home(".cache")),
    };
    Some(user?.join("qwen3-embedding").join(folder))
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn the_variable_comes_first_then_the_users_cache_directory() {
        let all = [
            ("QWEN3_QUANTIZED_CACHE", "/named"),
            ("XDG_CACHE_HOME", "/xdg"),
            ("HOME", "/home/user"),
        ];
        let from = |set: &[(&str, &str)]| {
            chosen("QWEN3_QUANTIZED_CACHE", "quantized", &|name| {
                let found = set.iter().find(|(key, _)| *key == name);
                found.map(|(_, value)| value.into())
            })
        };
        assert_eq!(from(&all), Some("/named".into()));
        assert_eq!(
            from(&all[1..]),
            Some("/xdg/qwen3-embedding/quantized".into())
        );
        let home = "/home/user/.cache/qwen3-embedding/quantized";
        assert_eq!(from(&all[2..]), Some(home.into()));
        let relative = [("XDG_CACHE_HOME", "xdg"), all[2]];
        assert_eq!(from(&relative), Some(home.into()));
        assert_eq!(from(&[]), None);
    }
}
