// Host memory for shards and workspaces.
#pragma once

#include <memory>
#include <new>

#include "jaxmg/error.hpp"
#include "jaxmg/types.hpp"

namespace jaxmg::cpu {

/// `count` zeroed elements at an address that is a multiple of a page's cache lines. Throws
/// OutOfMemory.
template <class T>
std::shared_ptr<T> allocate(index_t count) {
  static constexpr std::align_val_t alignment{128};
  const std::size_t bytes = static_cast<std::size_t>(count) * sizeof(T);
  void* const memory = ::operator new(bytes, alignment, std::nothrow);
  if (memory == nullptr) {
    throw OutOfMemory("could not allocate " + std::to_string(bytes) + " bytes of host memory");
  }
  T* const first = static_cast<T*>(memory);
  std::uninitialized_value_construct_n(first, count);
  return std::shared_ptr<T>(first, [](T* p) { ::operator delete(p, alignment); });
}

}  // namespace jaxmg::cpu
