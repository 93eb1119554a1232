// What an array will be computed from.
#pragma once

#include <mlx/mlx.h>

#include <cstdint>

#include "rust/cxx.h"
#include "trycatch.h"

namespace mlx_bridge {

using mlx::core::array;

// For each input of an array that is not evaluated yet: its number of
// dimensions, then these.
rust::Vec<std::int32_t> input_shapes(const array& a);

}  // namespace mlx_bridge
