//! The C++ half of the bridge to MLX.

const SOURCES: [&str; 5] = [
    "cpp/array.cpp",
    "cpp/capture.cpp",
    "cpp/device.cpp",
    "cpp/inspect.cpp",
    "cpp/ops.cpp",
];

pub(crate) fn compile() {
    println!("cargo::rerun-if-changed=cpp");
    // docs.rs has no network: the documentation needs no compiled bridge.
    let Ok(include) = std::env::var("DEP_MLX_INCLUDE") else {
        return;
    };
    // The C++ half is a bridge to MLX and names nothing else.
    cxx_build::CFG.include_prefix = "mlx_bridge";
    cxx_build::bridge("src/backend/mlx/ffi.rs")
        .files(SOURCES)
        .std("c++20")
        // MLX's own headers are not held to this project's warnings.
        .flag("-isystem")
        .flag(&include)
        .compile("mlx_bridge");
    if let Ok(lib) = std::env::var("DEP_MLX_LIB") {
        native::run_path(std::path::Path::new(&lib));
        // Cargo hands link arguments to no dependent: one with a program sets its run path from
        // DEP_QWEN3_EMBEDDING_MLX_LIB.
        println!("cargo::metadata=mlx_lib={lib}");
    }
}
