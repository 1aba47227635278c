// A GPU's threads on the CPU: runs the text of a kernel, to prove its arithmetic where there is no
// GPU. What it cannot show are memory ordering, the vendor's compiler, and speed.
//
// A thread of a block is a fiber. They go one after the other, in an order that is shuffled for
// each turn, up to the next meeting of a warp or a block, so that a meeting that is left out shows.
// A few blocks are resident at a time and take turns as well.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>

struct dim3 {
  unsigned x = 1, y = 1, z = 1;
  dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1)  // NOLINT(google-explicit-constructor)
      : x(x_), y(y_), z(z_) {}
};

namespace jaxmg::emulated {

/// The thread that runs.
struct Place {
  dim3 thread, block, threads, blocks;
  char* shared = nullptr;
};
Place& here();

/// Runs `kernel` by all threads of all blocks. Throws where threads of a block wait for others that
/// have ended, or all wait for ever.
void run_grid(dim3 blocks, unsigned threads, std::size_t shared,
              const std::function<void()>& kernel);

/// Until all threads of the block, or the warp, have come; or for another turn.
void meet_block();
void meet_warp();
void give_way();

/// Until so many threads of the block have come to this place, a number from 1 to 15, those counted
/// that do not wait.
void meet_at(int place, int count, bool waits);

/// Of `bytes` bytes from each lane of this warp, those of `lane`.
void exchange(const void* mine, void* theirs, std::size_t bytes, unsigned lane);

}  // namespace jaxmg::emulated

// ---- CUDA's names -------------------------------------------------------------------------------

#define __global__
#define __launch_bounds__(threads)
#define threadIdx (::jaxmg::emulated::here().thread)
#define blockIdx (::jaxmg::emulated::here().block)
#define blockDim (::jaxmg::emulated::here().threads)
#define gridDim (::jaxmg::emulated::here().blocks)

inline void __syncthreads() { jaxmg::emulated::meet_block(); }
inline void __syncwarp() { jaxmg::emulated::meet_warp(); }

template <class X>
X __shfl_xor_sync(unsigned, X value, int mask) {
  X other;
  jaxmg::emulated::exchange(&value, &other, sizeof(X),
                            threadIdx.x % 32 ^ static_cast<unsigned>(mask));
  return other;
}

template <class X>
X atomicAdd(X* place, X value) {
  const X before = *place;
  *place = before + value;
  return before;
}
template <class X>
X atomicMax(X* place, X value) {
  const X before = *place;
  *place = std::max(before, value);
  return before;
}

inline unsigned long long __double_as_longlong(double x) {
  unsigned long long bits = 0;
  std::memcpy(&bits, &x, sizeof(bits));
  return bits;
}
