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
Handle astype(const array& a, ElementType type, DeviceKind device);
Handle contiguous(const array& a, DeviceKind device);
Handle matmul(const array& a, const array& b, DeviceKind device);
Handle reshape(const array& a, Sizes shape, DeviceKind device);
Handle slice(const array& a, Sizes start, Sizes stop, DeviceKind device);
Handle swiglu(const array& gate, const array& up, DeviceKind device);
Handle take(const array& a, const array& indices, int axis, DeviceKind device);
Handle transpose(const array& a, Sizes axes, DeviceKind device);

Handle rms_norm(const array& x, const array& weight, float eps,
                DeviceKind device);
Handle rope(const array& x, int dims, float base, int offset,
            DeviceKind device);
Handle causal_attention(const array& queries, const array& keys,
                        const array& values, float scale, DeviceKind device);

// Throws what is not a std::exception: the test of trycatch.h.
void throw_unknown();

}  // namespace mlx_bridge
