// A stream as the contract's queue.
#pragma once

#include "device/cuda/chaos.hpp"
#include "device/cuda/device.hpp"

namespace jaxmg::cuda {

/// Enqueues on one lane of the rank's device. To be used by the rank's thread, whose current device
/// it is.
class Queue {
 public:
  Queue(Device& device, Priority priority) : lane_(device.take_lane(priority)) {}

  Event record() {
    chaos_delay(lane_.stream);
    return Event::record(lane_.stream);
  }
  void wait(const Event& event) {
    chaos_delay(lane_.stream);
    event.make_wait(lane_.stream);
  }
  void synchronize() { JAXMG_CUDA(cudaStreamSynchronize(lane_.stream)); }

  Lane& lane() { return lane_; }
  cudaStream_t stream() const { return lane_.stream; }

 private:
  Lane& lane_;
};

}  // namespace jaxmg::cuda
