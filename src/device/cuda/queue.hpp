// A stream as the contract's queue.
#pragma once

#include <chrono>
#include <utility>

#include "device/cuda/chaos.hpp"
#include "device/cuda/device.hpp"

namespace jaxmg::cuda {

/// Enqueues on one lane of the rank's device. To be used by the rank's thread, whose current device
/// it is.
class Queue {
 public:
  Queue(Device& device, Priority priority, SignOfLife sign = {})
      : lane_(device.take_lane(priority)), sign_(std::move(sign)) {}

  Event record() {
    chaos_delay(lane_.stream);
    return Event::record(lane_.stream);
  }
  void wait(const Event& event) {
    chaos_delay(lane_.stream);
    event.make_wait(lane_.stream);
  }
  void synchronize() {
    const auto now = [] { return std::chrono::steady_clock::now(); };
    auto next = now() + sign_.interval;
    while (sign_.say && !is_idle()) {
      if (now() < next) continue;  // asks again at once, as CUDA does: a panel's QR waits for it
      sign_.say();
      next += sign_.interval;
    }
    JAXMG_CUDA(cudaStreamSynchronize(lane_.stream));
  }

  Lane& lane() { return lane_; }
  cudaStream_t stream() const { return lane_.stream; }

 private:
  /// True after a failure, too.
  bool is_idle() const {
    if (cudaStreamQuery(lane_.stream) != cudaErrorNotReady) return true;
    cudaGetLastError();
    return false;
  }

  Lane& lane_;
  SignOfLife sign_;
};

}  // namespace jaxmg::cuda
