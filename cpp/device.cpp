#include "device.h"

#include <dlfcn.h>

#include <stdexcept>
#include <string>

#include "mlx_bridge/src/backend/mlx/ffi.rs.h"

namespace mx = mlx::core;

namespace mlx_bridge {

namespace {

using Properties =
    std::unordered_map<std::string, std::variant<std::string, size_t>>;

std::string text(const Properties& properties, const char* key) {
  auto found = properties.find(key);
  if (found == properties.end()) {
    return {};
  }
  auto* value = std::get_if<std::string>(&found->second);
  return value ? *value : std::string{};
}

std::size_t number(const Properties& properties, const char* key) {
  auto found = properties.find(key);
  if (found == properties.end()) {
    return 0;
  }
  auto* value = std::get_if<std::size_t>(&found->second);
  return value ? *value : 0;
}

}  // namespace

mx::Device to_device(DeviceKind device) {
  return device == DeviceKind::Gpu ? mx::Device::gpu : mx::Device::cpu;
}

rust::String version() { return mx::version(); }

rust::String library_path() {
  Dl_info info;
  if (dladdr(reinterpret_cast<const void*>(&mx::version), &info) == 0 ||
      info.dli_fname == nullptr) {
    throw std::runtime_error("[library_path] the dynamic linker knows no file");
  }
  return rust::String::lossy(info.dli_fname);
}

bool is_available(DeviceKind device) {
  return mx::is_available(to_device(device));
}

DeviceInfo device_info(DeviceKind device) {
  const auto& properties = mx::device_info(to_device(device));
  return DeviceInfo{
      .name = rust::String::lossy(text(properties, "device_name")),
      .architecture = rust::String::lossy(text(properties, "architecture")),
      .recommended_working_set_size =
          number(properties, "max_recommended_working_set_size"),
  };
}

void disable_compile() { mx::disable_compile(); }

void synchronize(DeviceKind device) {
  mx::synchronize(mx::default_stream(to_device(device)));
}

std::size_t active_memory() { return mx::get_active_memory(); }

std::size_t peak_memory() { return mx::get_peak_memory(); }

void reset_peak_memory() { mx::reset_peak_memory(); }

std::size_t cache_memory() { return mx::get_cache_memory(); }

std::size_t memory_limit() { return mx::get_memory_limit(); }

std::size_t set_memory_limit(std::size_t bytes) {
  return mx::set_memory_limit(bytes);
}

std::size_t set_cache_limit(std::size_t bytes) {
  return mx::set_cache_limit(bytes);
}

std::size_t set_wired_limit(std::size_t bytes) {
  return mx::set_wired_limit(bytes);
}

void clear_cache() { mx::clear_cache(); }

}  // namespace mlx_bridge
