// Carves typed arrays out of one block of workspace, or counts what that block must hold.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "jaxmg/view.hpp"

namespace jaxmg {

class Arena {
 public:
  /// Every array starts at a multiple of this many bytes.
  static constexpr std::size_t alignment = 128;

  /// An arena that only counts.
  Arena() = default;
  explicit Arena(void* base) : base_(static_cast<std::byte*>(base)) {
    const auto address = reinterpret_cast<std::uintptr_t>(base);
    used_ = (alignment - address % alignment) % alignment;
  }

  template <class T>
  T* take(index_t count) {
    void* const at = base_ == nullptr ? nullptr : base_ + used_;
    const std::size_t bytes = static_cast<std::size_t>(count) * sizeof(T);
    used_ += (bytes + alignment - 1) / alignment * alignment;
    return static_cast<T*>(at);
  }
  template <class T>
  MatrixView<T> take_matrix(index_t rows, index_t cols) {
    return {take<T>(rows * cols), rows, cols, rows};
  }

  /// What `other`, a copy of this arena, has taken counts as taken here: its arrays share storage
  /// with those taken from this one since.
  void cover(const Arena& other) { used_ = std::max(used_, other.used_); }

  /// Bytes that suffice wherever the block starts.
  std::size_t bytes() const { return used_ + (base_ == nullptr ? alignment : 0); }

 private:
  std::byte* base_ = nullptr;
  std::size_t used_ = 0;
};

}  // namespace jaxmg
