//! Pinned native wheels for build scripts: fetched with pip, verified, unpacked once per user.
//!
//! A build script asks for a package and gets the folder it was unpacked into:
//!
//! ```no_run
//! use native::{Package, Target};
//!
//! fn main() -> Result<(), native::Error> {
//!     native::register_variables();
//!     let target = Target::from_cargo()?;
//!     let wheel = native::select(Package::Mlx, &target)?;
//!     let prefix = native::provide(wheel)?.join("mlx");
//!     native::run_path(&prefix.join("lib"));
//!     Ok(())
//! }
//! ```
//!
//! The folder lies in a per-user cache, not in the build directory, because
//! what `cargo install` leaves behind must still run once that is deleted.

mod cache;
mod error;
mod fetch;
mod run_path;
mod target;
mod unpack;
mod vars;
mod wheel;

pub use cache::provide;
pub use error::{Error, Result};
pub use run_path::run_path;
pub use target::{Os, Target};
pub use vars::{MLX_DIR, mlx_dir, onnxruntime, python, register as register_variables};
pub use wheel::{MLX_VERSION, ONNX_RUNTIME_VERSION, Package, Wheel, select};
