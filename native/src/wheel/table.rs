//! The table of pinned wheels.

use super::{MLX_VERSION, ONNX_RUNTIME_VERSION, Package, Wheel};

/// All wheels, each with the SHA-256 of its file.
pub(super) const TABLE: [Wheel; 10] = [
    metal(
        "macosx_14_0_arm64",
        "8019b2db622599267d66cc168b2f0dbf5af929790a6c3b3913e00eabc42a7947",
    ),
    metal(
        "macosx_15_0_arm64",
        "9f0a3cc26d89724434d9684932fc6f3e4e83669d2a895d858ed2c8a55eb84e8b",
    ),
    metal(
        "macosx_26_0_arm64",
        "514df92d41a286895d2564b4b18f4da45096bd7a4a0c47e1042f345ad5a7f936",
    ),
    cpu(
        "manylinux_2_35_x86_64",
        "0e0a24fa2ce8b6b94d2e6a90604e8813aa8e29fcb918bb2aa01cfb6d133d8cee",
    ),
    cpu(
        "manylinux_2_35_aarch64",
        "1289e85e64af1fd16380bf331438bfe4afe875d27afc3e0bcf35f427c488fadd",
    ),
    cuda(
        "manylinux_2_35_x86_64",
        "94cb48fba73e5ee39467e51c35c51c691123359ca17bafd1a24cf92ad6732bee",
    ),
    cuda(
        "manylinux_2_35_aarch64",
        "cf8a67b49cebff85cd98b1d118c09f6c8ee966b899a914c50cc74d614b25616e",
    ),
    onnx(
        "manylinux_2_28_x86_64",
        "1f3dea47f2f0e5117c2404cea7d21fd253ae7836a3bf167a501cdfbb2600d536",
        "onnxruntime/capi/libonnxruntime.so.1.31.1",
    ),
    onnx(
        "manylinux_2_28_aarch64",
        "0b9a492176886992e0e875f06bc0367e333f5fff11711a2d642e18b02f3009cc",
        "onnxruntime/capi/libonnxruntime.so.1.31.1",
    ),
    onnx(
        "macosx_14_0_arm64",
        "96dd2564b10ea7153ad9c207e7cd8e5917cb3ba521e0e0a62ac03486fdc8d56c",
        "onnxruntime/capi/libonnxruntime.1.31.1.dylib",
    ),
];

const fn metal(platform: &'static str, sha256: &'static str) -> Wheel {
    mlx(
        Package::Mlx,
        "mlx-metal",
        platform,
        sha256,
        "mlx/lib/libmlx.dylib",
    )
}

const fn cpu(platform: &'static str, sha256: &'static str) -> Wheel {
    mlx(
        Package::Mlx,
        "mlx-cpu",
        platform,
        sha256,
        "mlx/lib/libmlx.so",
    )
}

const fn cuda(platform: &'static str, sha256: &'static str) -> Wheel {
    mlx(
        Package::MlxCuda,
        "mlx-cuda-13",
        platform,
        sha256,
        "mlx/lib/libmlx.so",
    )
}

const fn mlx(
    package: Package,
    project: &'static str,
    platform: &'static str,
    sha256: &'static str,
    library: &'static str,
) -> Wheel {
    Wheel {
        package,
        project,
        version: MLX_VERSION,
        platform,
        sha256,
        library,
    }
}

const fn onnx(platform: &'static str, sha256: &'static str, library: &'static str) -> Wheel {
    Wheel {
        package: Package::OnnxRuntime,
        project: "onnxruntime",
        version: ONNX_RUNTIME_VERSION,
        platform,
        sha256,
        library,
    }
}
