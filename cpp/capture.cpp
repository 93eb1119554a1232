#include "capture.h"

#include <mlx/mlx.h>

#include <string>

namespace mx = mlx::core;

namespace mlx_bridge {

bool metal_is_available() { return mx::metal::is_available(); }

void start_capture(rust::Str path) {
  mx::metal::start_capture(std::string(path));
}

void stop_capture() { mx::metal::stop_capture(); }

}  // namespace mlx_bridge
