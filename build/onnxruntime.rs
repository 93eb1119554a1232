//! Where the ONNX Runtime library lies, for the program to find it again at run time.

use std::path::PathBuf;

use native::{Error, Package, Target};

/// Records the library's path in `QWEN3_ORT_DYLIB`, or says why there is none: the library is
/// loaded at run time and can also be named then, so its absence fails no build.
pub(crate) fn record() {
    // docs.rs has no network, and documentation loads nothing.
    if std::env::var_os("DOCS_RS").is_some() {
        return;
    }
    native::register_variables();
    match library() {
        Ok(library) => {
            // Fetched again if the cache is emptied.
            println!("cargo::rerun-if-changed={}", library.display());
            println!("cargo::rustc-env=QWEN3_ORT_DYLIB={}", library.display());
        }
        Err(error) => println!(
            "cargo::warning=no ONNX Runtime was recorded, so one must be named at run time: {error}"
        ),
    }
}

/// The user's own library, else the pinned wheel's.
fn library() -> Result<PathBuf, Error> {
    if let Some(library) = native::onnxruntime() {
        return Ok(library);
    }
    let wheel = native::select(Package::OnnxRuntime, &Target::from_cargo()?)?;
    Ok(native::provide(wheel)?.join(wheel.library))
}
