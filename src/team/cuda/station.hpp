// The memory of a GPU through which GPUs of other processes read: the only memory that processes
// share on a GPU.
#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <utility>

#include "team/processes/descriptor.hpp"

namespace jaxmg::cuda {

/// An allocation of its own, which is exported once as a descriptor.
class Station {
 public:
  static constexpr std::size_t bytes = std::size_t{64} << 20;

  /// Allocates it on the GPU `ordinal`. Throws OutOfMemory or DeviceError.
  explicit Station(int ordinal);
  Station(const Station&) = delete;
  Station& operator=(const Station&) = delete;

  int ordinal() const { return ordinal_; }
  std::byte* data() const { return data_.get(); }
  const processes::Descriptor& descriptor() const { return descriptor_; }

 private:
  int ordinal_;
  std::shared_ptr<std::byte> data_;
  processes::Descriptor descriptor_;
};

/// Another process's station, as this one's GPUs see it.
class PeerStation {
 public:
  explicit PeerStation(processes::Descriptor descriptor) : descriptor_(std::move(descriptor)) {}

  /// Where the GPU `ordinal` sees it. Throws DeviceError where it cannot.
  std::byte* data_for(int ordinal);

 private:
  processes::Descriptor descriptor_;
  std::shared_ptr<std::byte> data_;
  std::map<int, bool> seen_by_;
};

}  // namespace jaxmg::cuda
