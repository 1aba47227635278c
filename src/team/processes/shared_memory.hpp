// Memory that two processes share and that has no name: it is gone with the last of them.
#pragma once

#include <cstddef>

#include "team/processes/descriptor.hpp"

namespace jaxmg::processes {

class SharedMemory {
 public:
  SharedMemory() = default;
  /// Memory of a peer. Throws Error unless it has `bytes` and can never have less.
  SharedMemory(const Descriptor& descriptor, std::size_t bytes);
  ~SharedMemory();
  SharedMemory(SharedMemory&& other) noexcept;
  SharedMemory& operator=(SharedMemory&& other) noexcept;

  /// New memory, and the descriptor to pass on, which this process need not keep.
  static std::pair<SharedMemory, Descriptor> create(std::size_t bytes);

  std::byte* data() const { return data_; }

 private:
  void map(int fd, std::size_t bytes);

  std::byte* data_ = nullptr;
  std::size_t bytes_ = 0;
};

}  // namespace jaxmg::processes
