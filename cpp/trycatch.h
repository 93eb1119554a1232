// Any C++ exception becomes a Rust error; without this cxx lets through what
// is not a std::exception, and the process ends.
#pragma once

#include <exception>

namespace rust::behavior {

template <typename Try, typename Fail>
static void trycatch(Try&& func, Fail&& fail) noexcept try {
  func();
} catch (const std::exception& e) {
  fail(e.what());
} catch (...) {
  fail("an exception that is not a std::exception");
}

}  // namespace rust::behavior
