#include "inspect.h"

namespace mlx_bridge {

rust::Vec<std::int32_t> input_shapes(const array& a) {
  rust::Vec<std::int32_t> sizes;
  for (const auto& input : a.inputs()) {
    sizes.push_back(static_cast<std::int32_t>(input.ndim()));
    for (auto size : input.shape()) {
      sizes.push_back(size);
    }
  }
  return sizes;
}

}  // namespace mlx_bridge
