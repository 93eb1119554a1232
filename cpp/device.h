// Devices, memory limits and the version of the linked library.
#pragma once

#include <mlx/mlx.h>

#include <cstddef>

#include "rust/cxx.h"
#include "trycatch.h"

namespace mlx_bridge {

enum class DeviceKind : ::std::uint8_t;
struct DeviceInfo;

rust::String version();
// The file that the library was loaded from.
rust::String library_path();
bool is_available(DeviceKind device);
DeviceInfo device_info(DeviceKind device);
void disable_compile();
void synchronize(DeviceKind device);

std::size_t active_memory();
std::size_t peak_memory();
void reset_peak_memory();
std::size_t cache_memory();
std::size_t memory_limit();
std::size_t set_memory_limit(std::size_t bytes);
std::size_t set_cache_limit(std::size_t bytes);
std::size_t set_wired_limit(std::size_t bytes);
void clear_cache();

// The device as MLX spells it.
mlx::core::Device to_device(DeviceKind device);

}  // namespace mlx_bridge
