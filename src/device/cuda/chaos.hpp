// Random delays on streams, for tests.
#pragma once

#include <atomic>

#include <cuda_runtime_api.h>

namespace jaxmg::cuda {

/// From now on each wait, record and copy of a queue comes after a kernel that spins for a random
/// time of up to `max_delay_us`. Seed 0 switches it off.
void set_chaos(unsigned seed, unsigned max_delay_us);

namespace detail {
inline std::atomic<bool> chaos_is_on{false};
void delay_at_random(cudaStream_t stream);
}  // namespace detail

inline void chaos_delay(cudaStream_t stream) {
  if (detail::chaos_is_on.load(std::memory_order_relaxed)) detail::delay_at_random(stream);
}

}  // namespace jaxmg::cuda
