//! The bridge: every C++ function that the crate can call, and nothing else.
//!
//! Everything returns `Result`: a function that throws and does not would end the process.

// Links the library; it has no Rust items.
use mlx_sys as _;

#[allow(
    unsafe_code,
    unreachable_pub,
    reason = "the one bridge module; cxx makes its items pub"
)]
#[cfg_attr(
    not(test),
    allow(
        dead_code,
        reason = "graph, reset_peak_memory and throw_unknown serve tests"
    )
)]
#[cxx::bridge(namespace = "mlx_bridge")]
pub(super) mod bridge {
    // Shared types.

    /// Where an operation runs.
    #[derive(Debug, PartialEq, Eq, Clone, Copy)]
    enum DeviceKind {
        Cpu,
        Gpu,
    }

    /// Element type of an array.
    #[derive(Debug, PartialEq, Eq, Clone, Copy)]
    enum ElementType {
        F32,
        F16,
        Bf16,
        U32,
        U8,
        Bool,
    }

    /// How a quantised matrix is packed.
    struct Packing<'a> {
        mode: &'a str,
        bits: i32,
        group_size: i32,
    }

    /// A quantised matrix; biases are null but in mode affine.
    struct Packed {
        weight: UniquePtr<MxArray>,
        scales: UniquePtr<MxArray>,
        biases: UniquePtr<MxArray>,
    }

    /// What the library tells of a device; absent figures are empty or 0.
    struct DeviceInfo {
        name: String,
        architecture: String,
        recommended_working_set_size: usize,
    }

    // SAFETY: cxx checks each signature here against the C++ declaration when it compiles the
    // bridge; every function copies what it keeps, takes lengths from slices and lets no exception
    // out (cpp/trycatch.h); the opaque type makes arrays neither Send nor Sync.
    unsafe extern "C++" {
        include!("mlx_bridge/cpp/capture.h");
        include!("mlx_bridge/cpp/inspect.h");
        include!("mlx_bridge/cpp/ops.h");

        /// A node of MLX's lazy graph, reference-counted on the C++ side.
        #[namespace = "mlx::core"]
        #[cxx_name = "array"]
        type MxArray;

        // cpp/device.h
        fn version() -> Result<String>;
        fn library_path() -> Result<String>;
        fn is_available(device: DeviceKind) -> Result<bool>;
        fn device_info(device: DeviceKind) -> Result<DeviceInfo>;
        fn disable_compile() -> Result<()>;
        fn synchronize(device: DeviceKind) -> Result<()>;
        fn active_memory() -> Result<usize>;
        fn peak_memory() -> Result<usize>;
        fn reset_peak_memory() -> Result<()>;
        fn cache_memory() -> Result<usize>;
        fn memory_limit() -> Result<usize>;
        fn set_memory_limit(bytes: usize) -> Result<usize>;
        fn set_cache_limit(bytes: usize) -> Result<usize>;
        fn set_wired_limit(bytes: usize) -> Result<usize>;
        fn clear_cache() -> Result<()>;

        // cpp/capture.h
        fn metal_is_available() -> Result<bool>;
        fn start_capture(path: &str) -> Result<()>;
        fn stop_capture() -> Result<()>;

        // cpp/inspect.h
        fn input_shapes(a: &MxArray) -> Result<Vec<i32>>;

        // cpp/array.h
        fn allocate(shape: &[i32], element_type: ElementType) -> Result<UniquePtr<MxArray>>;
        fn bytes(a: Pin<&mut MxArray>) -> Result<&mut [u8]>;
        fn shape(a: &MxArray) -> Result<Vec<i32>>;
        fn element_type(a: &MxArray) -> Result<ElementType>;
        fn eval(a: &MxArray) -> Result<()>;
        fn async_eval(a: &MxArray) -> Result<()>;
        fn read(a: &MxArray, out: &mut [u8]) -> Result<()>;

        // cpp/ops.h
        fn add(a: &MxArray, b: &MxArray, device: DeviceKind) -> Result<UniquePtr<MxArray>>;
        fn addmm(
            c: &MxArray,
            a: &MxArray,
            b: &MxArray,
            device: DeviceKind,
        ) -> Result<UniquePtr<MxArray>>;
        fn astype(
            a: &MxArray,
            element_type: ElementType,
            device: DeviceKind,
        ) -> Result<UniquePtr<MxArray>>;
        fn broadcast_to(
            a: &MxArray,
            shape: &[i32],
            device: DeviceKind,
        ) -> Result<UniquePtr<MxArray>>;
        fn concatenate(
            a: &MxArray,
            b: &MxArray,
            axis: i32,
            device: DeviceKind,
        ) -> Result<UniquePtr<MxArray>>;
        fn contiguous(a: &MxArray, device: DeviceKind) -> Result<UniquePtr<MxArray>>;
        fn matmul(a: &MxArray, b: &MxArray, device: DeviceKind) -> Result<UniquePtr<MxArray>>;
        fn multiply(a: &MxArray, b: &MxArray, device: DeviceKind) -> Result<UniquePtr<MxArray>>;
        fn reshape(a: &MxArray, shape: &[i32], device: DeviceKind) -> Result<UniquePtr<MxArray>>;
        fn slice(
            a: &MxArray,
            start: &[i32],
            stop: &[i32],
            device: DeviceKind,
        ) -> Result<UniquePtr<MxArray>>;
        fn swiglu(gate: &MxArray, up: &MxArray, device: DeviceKind) -> Result<UniquePtr<MxArray>>;
        fn take(
            a: &MxArray,
            indices: &MxArray,
            axis: i32,
            device: DeviceKind,
        ) -> Result<UniquePtr<MxArray>>;
        fn transpose(a: &MxArray, axes: &[i32], device: DeviceKind) -> Result<UniquePtr<MxArray>>;
        fn rms_norm(
            x: &MxArray,
            weight: &UniquePtr<MxArray>,
            eps: f32,
            device: DeviceKind,
        ) -> Result<UniquePtr<MxArray>>;
        fn rope(
            x: &MxArray,
            dims: i32,
            base: f32,
            offset: i32,
            device: DeviceKind,
        ) -> Result<UniquePtr<MxArray>>;
        fn rope_from(
            x: &MxArray,
            dims: i32,
            base: f32,
            offsets: &MxArray,
            device: DeviceKind,
        ) -> Result<UniquePtr<MxArray>>;
        fn attention(
            queries: &MxArray,
            keys: &MxArray,
            values: &MxArray,
            scale: f32,
            mask: &UniquePtr<MxArray>,
            device: DeviceKind,
        ) -> Result<UniquePtr<MxArray>>;
        fn causal_attention(
            queries: &MxArray,
            keys: &MxArray,
            values: &MxArray,
            scale: f32,
            device: DeviceKind,
        ) -> Result<UniquePtr<MxArray>>;
        fn quantized_matmul(
            x: &MxArray,
            weight: &MxArray,
            scales: &MxArray,
            biases: &UniquePtr<MxArray>,
            packing: &Packing<'_>,
            device: DeviceKind,
        ) -> Result<UniquePtr<MxArray>>;
        fn dequantize(
            weight: &MxArray,
            scales: &MxArray,
            biases: &UniquePtr<MxArray>,
            packing: &Packing<'_>,
            element_type: ElementType,
            device: DeviceKind,
        ) -> Result<UniquePtr<MxArray>>;
        fn quantize(x: &MxArray, packing: &Packing<'_>, device: DeviceKind) -> Result<Packed>;
        fn graph(a: &MxArray) -> Result<String>;
        fn throw_unknown() -> Result<()>;
    }
}
