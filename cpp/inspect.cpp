#include "inspect.h"

#include <mlx/primitives.h>

#include <string_view>

namespace mlx_bridge {

rust::Vec<std::int32_t> input_shapes(const array& a) {
  // A product of more than two dimensions is one of two, seen differently.
  auto source = a;
  while (source.has_primitive() &&
         std::string_view(source.primitive().name()) == "Unflatten") {
    source = array(source.inputs().front());
  }
  rust::Vec<std::int32_t> sizes;
  for (const auto& input : source.inputs()) {
    sizes.push_back(static_cast<std::int32_t>(input.ndim()));
    for (auto size : input.shape()) {
      sizes.push_back(size);
    }
  }
  return sizes;
}

}  // namespace mlx_bridge
