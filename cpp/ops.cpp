#include "ops.h"

#include <mlx/graph_utils.h>

#include <optional>
#include <sstream>
#include <string>

#include "mlx_bridge/src/backend/mlx/ffi.rs.h"

namespace mx = mlx::core;

namespace mlx_bridge {

namespace {

Handle own(array a) { return std::make_unique<array>(std::move(a)); }

mx::Shape to_shape(Sizes sizes) {
  return mx::Shape(sizes.begin(), sizes.end());
}

std::optional<array> given(const Handle& handle) {
  return handle ? std::optional<array>(*handle) : std::nullopt;
}

std::string mode(const Packing& packing) { return std::string(packing.mode); }

array silu_times(const array& gate, const array& up, mx::Device device) {
  return mx::multiply(mx::multiply(gate, mx::sigmoid(gate, device), device), up,
                      device);
}

// On a GPU the three elementwise operations become one kernel. Not on a CPU:
// there MLX would run the C++ compiler at run time.
std::vector<array> silu_times_gpu(const std::vector<array>& inputs) {
  return {silu_times(inputs[0], inputs[1], mx::Device::gpu)};
}

}  // namespace

Handle add(const array& a, const array& b, DeviceKind device) {
  return own(mx::add(a, b, to_device(device)));
}

Handle addmm(const array& c, const array& a, const array& b,
             DeviceKind device) {
  return own(
      mx::addmm(c, a, b, /* alpha */ 1.0f, /* beta */ 1.0f, to_device(device)));
}

Handle astype(const array& a, ElementType type, DeviceKind device) {
  return own(mx::astype(a, to_dtype(type), to_device(device)));
}

Handle broadcast_to(const array& a, Sizes shape, DeviceKind device) {
  return own(mx::broadcast_to(a, to_shape(shape), to_device(device)));
}

Handle concatenate(const array& a, const array& b, int axis,
                   DeviceKind device) {
  return own(mx::concatenate({a, b}, axis, to_device(device)));
}

Handle contiguous(const array& a, DeviceKind device) {
  return own(mx::contiguous(a, /* allow_col_major */ false, to_device(device)));
}

Handle matmul(const array& a, const array& b, DeviceKind device) {
  return own(mx::matmul(a, b, to_device(device)));
}

Handle multiply(const array& a, const array& b, DeviceKind device) {
  return own(mx::multiply(a, b, to_device(device)));
}

Handle reshape(const array& a, Sizes shape, DeviceKind device) {
  return own(mx::reshape(a, to_shape(shape), to_device(device)));
}

Handle slice(const array& a, Sizes start, Sizes stop, DeviceKind device) {
  return own(mx::slice(a, to_shape(start), to_shape(stop), to_device(device)));
}

Handle swiglu(const array& gate, const array& up, DeviceKind device) {
  if (device == DeviceKind::Cpu) {
    return own(silu_times(gate, up, mx::Device::cpu));
  }
  thread_local const auto fused =
      mx::compile(silu_times_gpu, /* shapeless */ true);
  return own(fused({gate, up})[0]);
}

Handle take(const array& a, const array& indices, int axis, DeviceKind device) {
  return own(mx::take(a, indices, axis, to_device(device)));
}

Handle transpose(const array& a, Sizes axes, DeviceKind device) {
  return own(mx::transpose(a, {axes.begin(), axes.end()}, to_device(device)));
}

Handle rms_norm(const array& x, const Handle& weight, float eps,
                DeviceKind device) {
  return own(mx::fast::rms_norm(x, given(weight), eps, to_device(device)));
}

Handle rope(const array& x, int dims, float base, int offset,
            DeviceKind device) {
  return own(mx::fast::rope(x, dims,
                            /* traditional */ false, base,
                            /* scale */ 1.0f, offset,
                            /* freqs */ std::nullopt, to_device(device)));
}

Handle rope_from(const array& x, int dims, float base, const array& offsets,
                 DeviceKind device) {
  return own(mx::fast::rope(x, dims,
                            /* traditional */ false, base,
                            /* scale */ 1.0f, offsets,
                            /* freqs */ std::nullopt, to_device(device)));
}

Handle attention(const array& queries, const array& keys, const array& values,
                 float scale, const Handle& mask, DeviceKind device) {
  return own(mx::fast::scaled_dot_product_attention(
      queries, keys, values, scale, /* mask_mode */ "", given(mask),
      /* sinks */ std::nullopt,
      /* force_fused */ false, to_device(device)));
}

Handle causal_attention(const array& queries, const array& keys,
                        const array& values, float scale, DeviceKind device) {
  return own(mx::fast::scaled_dot_product_attention(
      queries, keys, values, scale, "causal",
      /* mask_arr */ std::nullopt,
      /* sinks */ std::nullopt,
      /* force_fused */ false, to_device(device)));
}

Handle quantized_matmul(const array& x, const array& weight,
                        const array& scales, const Handle& biases,
                        const Packing& packing, DeviceKind device) {
  return own(mx::quantized_matmul(x, weight, scales, given(biases),
                                  /* transpose */ true, packing.group_size,
                                  packing.bits, mode(packing),
                                  to_device(device)));
}

Handle dequantize(const array& weight, const array& scales,
                  const Handle& biases, const Packing& packing,
                  ElementType type, DeviceKind device) {
  return own(mx::dequantize(weight, scales, given(biases), packing.group_size,
                            packing.bits, mode(packing),
                            /* global_scale */ std::nullopt, to_dtype(type),
                            to_device(device)));
}

Packed quantize(const array& x, const Packing& packing, DeviceKind device) {
  auto parts = mx::quantize(x, packing.group_size, packing.bits, mode(packing),
                            /* global_scale */ std::nullopt, to_device(device));
  return Packed{
      .weight = own(parts.at(0)),
      .scales = own(parts.at(1)),
      .biases = parts.size() > 2 ? own(parts[2]) : nullptr,
  };
}

rust::String graph(const array& a) {
  std::ostringstream out;
  mx::export_to_dot(out, a);
  return rust::String::lossy(out.str());
}

void throw_unknown() { throw 42; }

}  // namespace mlx_bridge
