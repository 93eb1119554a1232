//! Compiles the C++ half of the MLX bridge and records where the native libraries lie.

#[cfg(feature = "mlx")]
#[path = "build/bridge.rs"]
mod bridge;
#[cfg(feature = "onnx")]
#[path = "build/onnxruntime.rs"]
mod onnxruntime;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=build");
    #[cfg(feature = "mlx")]
    bridge::compile();
    #[cfg(feature = "onnx")]
    onnxruntime::record();
}
