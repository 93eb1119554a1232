//! Gives the program its run path: MLX beside it, else in the per-user cache.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    #[cfg(feature = "mlx")]
    if let Some(folder) = std::env::var_os("DEP_QWEN3_EMBEDDING_MLX_LIB") {
        native::run_path(std::path::Path::new(&folder));
    }
}
