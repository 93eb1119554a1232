//! The platform that is built for, which is not always the one that builds.

use std::env;
use std::fmt;
use std::process::Command;

use crate::error::{Error, Result};
use crate::vars;

/// The macOS assumed where neither the user nor the building machine says one.
const DEFAULT_MACOS: u32 = 15;

/// Operating systems, as far as wheels tell them apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Os {
    /// Linux with glibc.
    Linux,
    /// macOS, with the oldest major version the result must run on.
    MacOs {
        /// Such as 15.
        major: u32,
    },
    /// Any other, as cargo names it, with its C library.
    Other(String),
}

/// The platform that is built for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Its operating system.
    pub os: Os,
    /// Its processor, as cargo names it: `x86_64`, `aarch64`.
    pub arch: String,
}

impl Target {
    /// Reads the target of the running build script.
    ///
    /// For macOS the version is `MACOSX_DEPLOYMENT_TARGET`, else the building
    /// machine's own, else 15.
    ///
    /// # Errors
    ///
    /// Outside of a build script, and where the macOS version is no number.
    pub fn from_cargo() -> Result<Self> {
        let os = cargo("CARGO_CFG_TARGET_OS")?;
        let arch = cargo("CARGO_CFG_TARGET_ARCH")?;
        let libc = env::var("CARGO_CFG_TARGET_ENV").unwrap_or_default();
        let macos = if os == "macos" { macos_version() } else { None };
        Self::parse(&os, &arch, &libc, macos.as_deref())
    }

    /// Parses cargo's words for a target: `linux`, `x86_64`, `gnu`.
    ///
    /// # Errors
    ///
    /// Where `macos`, such as `15.2`, is no version number.
    pub fn parse(os: &str, arch: &str, libc: &str, macos: Option<&str>) -> Result<Self> {
        let os = match (os, libc) {
            ("linux", "gnu") => Os::Linux,
            ("macos", _) => Os::MacOs {
                major: macos.map_or(Ok(DEFAULT_MACOS), major)?,
            },
            (os, "") => Os::Other(os.to_owned()),
            (os, libc) => Os::Other(format!("{os}-{libc}")),
        };
        Ok(Self {
            os,
            arch: arch.to_owned(),
        })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.os {
            Os::Linux => write!(f, "{}-linux-gnu", self.arch),
            Os::MacOs { major } => write!(f, "{}-macos {major}", self.arch),
            Os::Other(os) => write!(f, "{}-{os}", self.arch),
        }
    }
}

fn cargo(variable: &'static str) -> Result<String> {
    env::var(variable).map_err(|_| Error::NotABuildScript { variable })
}

/// The version asked for, else that of the building machine if it is a Mac.
fn macos_version() -> Option<String> {
    if let Ok(version) = env::var(vars::DEPLOYMENT_TARGET) {
        return Some(version);
    }
    let output = Command::new("sw_vers")
        .arg("-productVersion")
        .output()
        .ok()?;
    let version = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| version.trim().to_owned())
}

fn major(version: &str) -> Result<u32> {
    let digits = version.split('.').next().unwrap_or_default();
    digits.parse().map_err(|_| Error::MacOsVersion {
        found: version.to_owned(),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_macos_version_defaults_to_15_and_keeps_its_major_part() {
        for (version, expected) in [(None, 15), (Some("14"), 14), (Some("26.1.2"), 26)] {
            let target = Target::parse("macos", "aarch64", "", version).unwrap();
            assert_eq!(target.os, Os::MacOs { major: expected });
        }
    }

    #[test]
    fn a_macos_version_that_is_no_number_is_refused() {
        let error = Target::parse("macos", "aarch64", "", Some("new")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "\"new\" is not a macOS version; set MACOSX_DEPLOYMENT_TARGET to one such as 15.0",
        );
    }

    #[test]
    fn musl_is_not_the_linux_of_the_wheels() {
        let target = Target::parse("linux", "x86_64", "musl", None).unwrap();
        assert_eq!(target.os, Os::Other("linux-musl".to_owned()));
    }
}
