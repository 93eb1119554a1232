// Arrays: made from host bytes, inspected, evaluated, copied back.
#pragma once

#include <mlx/mlx.h>

#include <cstddef>
#include <memory>

#include "rust/cxx.h"
#include "trycatch.h"

namespace mlx_bridge {

using mlx::core::array;

enum class ElementType : ::std::uint8_t;

// An array whose bytes are not set yet; every byte must be written before use.
std::unique_ptr<array> allocate(rust::Slice<const std::int32_t> shape,
                                ElementType type);
// Its memory, for any thread to write to before the array is used.
rust::Slice<std::uint8_t> bytes(array& a);

rust::Vec<std::int32_t> shape(const array& a);
ElementType element_type(const array& a);

void eval(const array& a);
// Hands an array to its device without waiting for it.
void async_eval(const array& a);
void read(const array& a, rust::Slice<std::uint8_t> out);

mlx::core::Dtype to_dtype(ElementType type);

}  // namespace mlx_bridge
