//! The pinned wheels and which of them serves which target.

mod table;

use table::TABLE;

use crate::error::{Error, Result};
use crate::target::{Os, Target};
use crate::vars;

/// The MLX that every MLX wheel of the table holds.
pub const MLX_VERSION: &str = "0.32.4";
/// The ONNX Runtime that every wheel of it in the table holds.
pub const ONNX_RUNTIME_VERSION: &str = "1.31.1";

/// A native library that a build script may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Package {
    /// MLX: Metal on macOS, CPU on Linux.
    Mlx,
    /// MLX on CUDA; Linux only.
    MlxCuda,
    /// ONNX Runtime.
    OnnxRuntime,
}

impl Package {
    /// How to go on where no wheel can be had.
    fn cure(self) -> String {
        match self {
            Self::Mlx | Self::MlxCuda => {
                format!("set {} to an existing MLX {MLX_VERSION}", vars::MLX_DIR)
            }
            Self::OnnxRuntime => format!(
                "set {} to an existing ONNX Runtime {ONNX_RUNTIME_VERSION} library",
                vars::ONNXRUNTIME,
            ),
        }
    }

    fn title(self) -> String {
        match self {
            Self::Mlx => format!("MLX {MLX_VERSION}"),
            Self::MlxCuda => format!("MLX {MLX_VERSION} for CUDA"),
            Self::OnnxRuntime => format!("ONNX Runtime {ONNX_RUNTIME_VERSION}"),
        }
    }
}

/// One file on the package index, known by its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wheel {
    /// What it holds.
    pub package: Package,
    /// Its name on the index.
    pub project: &'static str,
    /// Its version.
    pub version: &'static str,
    /// Its platform tag.
    pub platform: &'static str,
    /// Its SHA-256, in lower-case hexadecimal digits.
    pub sha256: &'static str,
    /// The shared library it is wanted for, relative to the unpacked wheel.
    pub library: &'static str,
}

impl Wheel {
    /// How to go on where this wheel cannot be had.
    pub(crate) fn cure(&self) -> String {
        self.package.cure()
    }

    /// The Python implementation that pip must be told, for wheels tied to one.
    pub(crate) fn implementation(&self) -> Option<&'static str> {
        (self.package == Package::OnnxRuntime).then_some("cp")
    }

    /// Name, version and platform, for messages.
    pub(crate) fn title(&self) -> String {
        format!("{} {} ({})", self.project, self.version, self.platform)
    }
}

/// The wheel that serves a target.
///
/// # Errors
///
/// [`Error::UnsupportedTarget`], which names the variable to set instead.
pub fn select(package: Package, target: &Target) -> Result<&'static Wheel> {
    let found = platform(package, target).and_then(|platform| {
        TABLE
            .iter()
            .find(|wheel| wheel.package == package && wheel.platform == platform)
    });
    found.ok_or_else(|| Error::UnsupportedTarget {
        package: package.title(),
        target: target.to_string(),
        cure: package.cure(),
    })
}

/// The platform tag of a package's wheel for a target.
fn platform(package: Package, target: &Target) -> Option<&'static str> {
    let onnx = package == Package::OnnxRuntime;
    Some(match (&target.os, target.arch.as_str()) {
        (Os::Linux, "x86_64") if onnx => "manylinux_2_28_x86_64",
        (Os::Linux, "aarch64") if onnx => "manylinux_2_28_aarch64",
        (Os::Linux, "x86_64") => "manylinux_2_35_x86_64",
        (Os::Linux, "aarch64") => "manylinux_2_35_aarch64",
        (Os::MacOs { major: 14.. }, "aarch64") if onnx => "macosx_14_0_arm64",
        // Builds for an older macOS do not use the M5's matrix units.
        (Os::MacOs { major: 26.. }, "aarch64") => "macosx_26_0_arm64",
        (Os::MacOs { major: 15.. }, "aarch64") => "macosx_15_0_arm64",
        (Os::MacOs { major: 14 }, "aarch64") => "macosx_14_0_arm64",
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
