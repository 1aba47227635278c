// In place of the library's header of this name: CPU queues that are streams.
#pragma once

#include <cuda_runtime_api.h>

namespace jaxmg::emulated {

using Device = cpu::Device;
using Event = cpu::Event;

/// Where a GPU's queue has its handles.
using Lane = cpu::Queue;

class Queue : public cpu::Queue {
 public:
  using cpu::Queue::Queue;
  cudaStream_t stream() { return this; }
  Lane& lane() { return *this; }
};

}  // namespace jaxmg::emulated
