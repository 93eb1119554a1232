// One function per MLX operation; each returns a new lazy array.
#pragma once

#include <mlx/mlx.h>

#include <cstdint>
#include <memory>

#include "array.h"
#include "device.h"

namespace mlx_bridge {

using Handle = std::unique_ptr<array>;
using Sizes = rust::Slice<const std::int32_t>;

Handle add(const array& a, const array& b, DeviceKind device);
// c + a @ b
Handle addmm(const array& c, const array& a, const array& b, DeviceKind device);
Handle astype(const array& a, ElementType type, DeviceKind device);
Handle contiguous(const array& a, DeviceKind device);
Handle broadcast_to(const array& a, Sizes shape, DeviceKind device);
Handle concatenate(const array& a, const array& b, int axis, DeviceKind device);
Handle matmul(const array& a, const array& b, DeviceKind device);
Handle multiply(const array& a, const array& b, DeviceKind device);
Handle reshape(const array& a, Sizes shape, DeviceKind device);
Handle slice(const array& a, Sizes start, Sizes stop, DeviceKind device);
Handle swiglu(const array& gate, const array& up, DeviceKind device);
Handle take(const array& a, const array& indices, int axis, DeviceKind device);
Handle transpose(const array& a, Sizes axes, DeviceKind device);

// Where a handle is null there is no such array.
Handle rms_norm(const array& x, const Handle& weight, float eps,
                DeviceKind device);
Handle rope(const array& x, int dims, float base, int offset,
            DeviceKind device);
// The first row of each sequence at an offset of its own.
Handle rope_from(const array& x, int dims, float base, const array& offsets,
                 DeviceKind device);
Handle attention(const array& queries, const array& keys, const array& values,
                 float scale, const Handle& mask, DeviceKind device);
Handle causal_attention(const array& queries, const array& keys,
                        const array& values, float scale, DeviceKind device);

struct Packed;
struct Packing;
// x @ weight.T
Handle quantized_matmul(const array& x, const array& weight,
                        const array& scales, const Handle& biases,
                        const Packing& packing, DeviceKind device);
Handle dequantize(const array& weight, const array& scales,
                  const Handle& biases, const Packing& packing,
                  ElementType type, DeviceKind device);
Packed quantize(const array& x, const Packing& packing, DeviceKind device);

// The graph behind an array that was not evaluated, in the language of
// Graphviz.
rust::String graph(const array& a);

// Throws what is not a std::exception: the test of trycatch.h.
void throw_unknown();

}  // namespace mlx_bridge
