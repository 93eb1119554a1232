//! A folder that holds the MLX this crate is written for: headers and library.

use std::fs;
use std::path::{Path, PathBuf};

use native::{MLX_VERSION, Os};

/// An MLX of the right version, with all that building and linking need.
#[derive(Debug)]
pub(crate) struct Prefix {
    /// The folder to include from: `<mlx/mlx.h>`.
    pub(crate) include: PathBuf,
    /// The folder of the library.
    pub(crate) lib: PathBuf,
    /// The library itself.
    pub(crate) library: PathBuf,
}

impl Prefix {
    /// Checks the folder `root`; the error is one line that names the cure.
    pub(crate) fn open(root: &Path, target: &Os) -> Result<Self, String> {
        let header = root.join("include").join("mlx").join("version.h");
        let text = fs::read_to_string(&header).map_err(|error| absent(&header, &error))?;
        let found = version(&text)
            .ok_or_else(|| format!("include/mlx/version.h has no version; {}", cure()))?;
        if found != MLX_VERSION {
            return Err(format!(
                "expected MLX {MLX_VERSION}, found {found}; {}",
                cure()
            ));
        }
        let lib = root.join("lib");
        let library = lib.join(match target {
            Os::MacOs { .. } => "libmlx.dylib",
            _ => "libmlx.so",
        });
        fs::metadata(&library).map_err(|error| absent(&library, &error))?;
        Ok(Self {
            include: root.join("include"),
            lib,
            library,
        })
    }
}

fn absent(path: &Path, error: &std::io::Error) -> String {
    format!("{}: {error}; {}", path.display(), cure())
}

fn cure() -> String {
    format!(
        "point MLX_DIR at the prefix of an MLX {MLX_VERSION}, or unset it to use the pinned wheel"
    )
}

/// `0.32.4` from the three `#define`s of `mlx/version.h`.
fn version(header: &str) -> Option<String> {
    let part = |name: &str| {
        header.lines().find_map(|line| {
            let mut words = line.split_whitespace();
            let defines = words.next() == Some("#define") && words.next() == Some(name);
            defines.then(|| words.next()).flatten()
        })
    };
    let major = part("MLX_VERSION_MAJOR")?;
    let minor = part("MLX_VERSION_MINOR")?;
    let patch = part("MLX_VERSION_PATCH")?;
    Some(format!("{major}.{minor}.{patch}"))
}
