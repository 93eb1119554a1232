//! An MLX that is installed already: Homebrew's, else a Python package's.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use native::{Os, Wheel};

use crate::prefix::Prefix;

/// Prints the folder of the package `mlx`, which need not be importable.
const WHERE_IS_MLX: &str = "import importlib.util as u; s = u.find_spec('mlx'); \
     print(*(s.submodule_search_locations if s else []), sep='\\n')";

/// An installed MLX of the pinned version; any other is passed over in silence.
///
/// What is installed here runs here, so a build for another machine gets none.
pub(crate) fn installed(wheel: Option<&Wheel>, target: &Os) -> Option<Prefix> {
    if env::var_os("HOST") != env::var_os("TARGET") {
        return None;
    }
    homebrew(target).or_else(|| python_package(wheel?, target))
}

fn homebrew(target: &Os) -> Option<Prefix> {
    let Os::MacOs { .. } = target else {
        return None;
    };
    let prefixes = ["/opt/homebrew/opt/mlx", "/usr/local/opt/mlx"];
    prefixes
        .iter()
        .find_map(|root| Prefix::open(Path::new(root), target).ok())
}

/// A package that was installed from the very wheel that would be fetched.
///
/// Another build of the same version may lack CUDA, or an M5's matrix units.
fn python_package(wheel: &Wheel, target: &Os) -> Option<Prefix> {
    let mut command = Command::new(native::python());
    command.args(["-c", WHERE_IS_MLX]).stdin(Stdio::null());
    // Python looks for packages in its own working folder too.
    command.current_dir(env::var_os("OUT_DIR")?);
    let output = command
        .output()
        .ok()
        .filter(|output| output.status.success())?;
    let folders = String::from_utf8(output.stdout).ok()?;
    let mut folders = folders.lines().map(PathBuf::from);
    folders.find_map(|folder| {
        from_wheel(wheel, folder.parent()?).then(|| Prefix::open(&folder, target).ok())?
    })
}

/// Whether `packages` records an installation of this wheel.
fn from_wheel(wheel: &Wheel, packages: &Path) -> bool {
    let record = format!(
        "{}-{}.dist-info/WHEEL",
        wheel.project.replace('-', "_"),
        wheel.version
    );
    let tag = format!("Tag: py3-none-{}", wheel.platform);
    fs::read_to_string(packages.join(record)).is_ok_and(|text| text.lines().any(|line| line == tag))
}
