// Allocations of cuMemCreate's, which other processes may map.
#pragma once

#include <cstddef>
#include <memory>

#include "device/cuda/driver.hpp"

namespace jaxmg::cuda {

inline constexpr auto shared_by_descriptor = CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR;

/// Keeps an allocation, which lives as long as it is kept or mapped.
class PhysicalMemory {
 public:
  explicit PhysicalMemory(CUmemGenericAllocationHandle handle) : handle_(handle) {}
  ~PhysicalMemory() { driver().cuMemRelease(handle_); }
  PhysicalMemory(const PhysicalMemory&) = delete;
  PhysicalMemory& operator=(const PhysicalMemory&) = delete;

  CUmemGenericAllocationHandle handle() const { return handle_; }
  /// A new descriptor of it, for other processes.
  int descriptor() const;

 private:
  CUmemGenericAllocationHandle handle_;
};

/// Of the GPU `ordinal`, to be exported by descriptors.
PhysicalMemory allocate_physical(int ordinal, std::size_t bytes);
/// What a descriptor of another process tells.
PhysicalMemory import_physical(int descriptor);

/// Where `memory` is in this process, as long as that is held. No GPU may use it before let_use().
std::shared_ptr<std::byte> map(const PhysicalMemory& memory, std::size_t bytes);
/// Lets the GPU `ordinal` read and write there.
void let_use(std::byte* mapped, std::size_t bytes, int ordinal);

}  // namespace jaxmg::cuda
