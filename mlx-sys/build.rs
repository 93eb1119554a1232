//! Finds or fetches MLX, links it, and hands its headers to dependents.

#[path = "build/found.rs"]
mod found;
#[path = "build/prefix.rs"]
mod prefix;

use std::process::ExitCode;

use native::{Error, MLX_VERSION, Package, Target};
use prefix::Prefix;

fn main() -> ExitCode {
    // docs.rs has no network, and documentation links nothing.
    if std::env::var_os("DOCS_RS").is_some() {
        return ExitCode::SUCCESS;
    }
    native::register_variables();
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=build");
    match mlx() {
        Ok(prefix) => {
            link(&prefix);
            ExitCode::SUCCESS
        }
        Err(cure) => {
            println!("cargo::error={cure}");
            ExitCode::FAILURE
        }
    }
}

/// The user's own MLX, else one that is installed, else the pinned wheel.
fn mlx() -> Result<Prefix, String> {
    let target = Target::from_cargo().map_err(|error| error.to_string())?;
    if let Some(root) = native::mlx_dir() {
        return Prefix::open(&root, &target.os)
            .map_err(|error| format!("{}={}: {error}", native::MLX_DIR, root.display()));
    }
    let wheel = native::select(package(), &target);
    if let Some(prefix) = found::installed(wheel.as_ref().ok().copied(), &target.os) {
        return Ok(prefix);
    }
    let open = |wheel| -> Result<_, Error> { Ok(native::provide(wheel)?.join("mlx")) };
    let root = wheel.and_then(open).map_err(|error| error.to_string())?;
    Prefix::open(&root, &target.os).map_err(|error| format!("{}: {error}", root.display()))
}

fn package() -> Package {
    match std::env::var_os("CARGO_FEATURE_CUDA") {
        Some(_) => Package::MlxCuda,
        None => Package::Mlx,
    }
}

fn link(prefix: &Prefix) {
    let (include, lib) = (prefix.include.display(), prefix.lib.display());
    println!("MLX {MLX_VERSION} from {lib}");
    // Fetched again if the cache is emptied.
    println!("cargo::rerun-if-changed={}", prefix.library.display());
    println!("cargo::rustc-link-search=native={lib}");
    println!("cargo::rustc-link-lib=dylib=mlx");
    println!("cargo::metadata=include={include}");
    println!("cargo::metadata=lib={lib}");
    println!("cargo::metadata=version={MLX_VERSION}");
}
