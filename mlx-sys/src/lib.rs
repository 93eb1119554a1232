//! Links MLX's C++ library; there is no Rust API.
//!
//! The build script finds MLX or fetches the pinned wheel. Dependents must
//! name this crate once (`use mlx_sys as _;`), or nothing is linked, and read
//! in their own build scripts:
//!
//! | variable | what |
//! |---|---|
//! | `DEP_MLX_INCLUDE` | the folder to include from |
//! | `DEP_MLX_LIB` | the folder of the library, for the run path |
//! | `DEP_MLX_VERSION` | the version |
