// Metal's record of what a GPU runs.
#pragma once

#include "rust/cxx.h"
#include "trycatch.h"

namespace mlx_bridge {

bool metal_is_available();
void start_capture(rust::Str path);
void stop_capture();

}  // namespace mlx_bridge
