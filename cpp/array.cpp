#include "array.h"

#include <cstring>
#include <sstream>
#include <stdexcept>

#include "mlx_bridge/src/backend/mlx/ffi.rs.h"

namespace mx = mlx::core;

namespace mlx_bridge {

mx::Dtype to_dtype(ElementType type) {
  switch (type) {
    case ElementType::F32:
      return mx::float32;
    case ElementType::F16:
      return mx::float16;
    case ElementType::Bf16:
      return mx::bfloat16;
    case ElementType::U32:
      return mx::uint32;
    case ElementType::U8:
      return mx::uint8;
    case ElementType::Bool:
      return mx::bool_;
    default:
      throw std::invalid_argument("[to_dtype] unknown element type");
  }
}

std::unique_ptr<array> allocate(rust::Slice<const std::int32_t> shape,
                                ElementType type) {
  auto dtype = to_dtype(type);
  std::size_t bytes = dtype.size();
  for (auto size : shape) {
    bytes *= static_cast<std::size_t>(size);
  }
  auto data = mx::allocator::malloc(bytes);
  if (bytes > 0 && data.buffer().ptr() == nullptr) {
    std::ostringstream message;
    message << "[allocate] no memory for " << bytes << " bytes";
    throw std::runtime_error(message.str());
  }
  return std::make_unique<array>(std::move(data),
                                 mx::Shape(shape.begin(), shape.end()), dtype);
}

rust::Slice<std::uint8_t> bytes(array& a) {
  if (a.nbytes() == 0) {
    return {};
  }
  return {a.data<std::uint8_t>(), a.nbytes()};
}

rust::Vec<std::int32_t> shape(const array& a) {
  rust::Vec<std::int32_t> sizes;
  for (auto size : a.shape()) {
    sizes.push_back(size);
  }
  return sizes;
}

ElementType element_type(const array& a) {
  switch (a.dtype()) {
    case mx::Dtype::Val::float32:
      return ElementType::F32;
    case mx::Dtype::Val::float16:
      return ElementType::F16;
    case mx::Dtype::Val::bfloat16:
      return ElementType::Bf16;
    case mx::Dtype::Val::uint32:
      return ElementType::U32;
    case mx::Dtype::Val::uint8:
      return ElementType::U8;
    case mx::Dtype::Val::bool_:
      return ElementType::Bool;
    default:
      throw std::invalid_argument("[element_type] not a type of this bridge");
  }
}

void eval(const array& a) { mx::eval(a); }

void async_eval(const array& a) { mx::async_eval(a); }

void read(const array& a, rust::Slice<std::uint8_t> out) {
  if (a.nbytes() != out.size() || !a.is_available() ||
      !a.flags().row_contiguous) {
    std::ostringstream message;
    message << "[read] expected " << out.size()
            << " bytes of an evaluated contiguous array, found " << a.nbytes();
    throw std::invalid_argument(message.str());
  }
  std::memcpy(out.data(), a.data<std::uint8_t>(), a.nbytes());
}

}  // namespace mlx_bridge
