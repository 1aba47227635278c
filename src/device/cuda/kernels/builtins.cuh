// What kernels ask of the machine itself beside CUDA's own names.
#pragma once

#include <cstdint>

namespace jaxmg::cuda {

/// A block's dynamic shared memory, with alignment for all types.
template <class T>
T* shared_memory() {
  extern __shared__ double2 jaxmg_shared_memory[];
  return reinterpret_cast<T*>(jaxmg_shared_memory);
}

/// Reads a number that another block writes with store_release(), and after it what that block,
/// all of its threads before a __syncthreads(), had written before.
inline int load_acquire(const int* place) {
  int value = 0;
  asm volatile("ld.acquire.gpu.global.s32 %0, [%1];" : "=r"(value) : "l"(place) : "memory");
  return value;
}
inline void store_release(int* place, int value) {
  asm volatile("st.release.gpu.global.s32 [%0], %1;" : : "l"(place), "r"(value) : "memory");
}

/// A number that other blocks see whole, in no order with others.
inline std::uint64_t load_relaxed(const std::uint64_t* place) {
  std::uint64_t value = 0;
  asm volatile("ld.relaxed.gpu.global.u64 %0, [%1];" : "=l"(value) : "l"(place) : "memory");
  return value;
}
inline void store_relaxed(std::uint64_t* place, std::uint64_t value) {
  asm volatile("st.relaxed.gpu.global.u64 [%0], %1;" : : "l"(place), "l"(value) : "memory");
}

/// Waits for `count` threads of this block, whole warps, to meet or arrive at this place, a number
/// from 1 to 15. All see what they wrote before.
inline void meet(int place, int count) {
  asm volatile("barrier.sync %0, %1;" : : "r"(place), "r"(count) : "memory");
}
/// The same without waiting.
inline void arrive(int place, int count) {
  asm volatile("barrier.arrive %0, %1;" : : "r"(place), "r"(count) : "memory");
}

/// For a moment.
inline void pause() { __nanosleep(20); }

}  // namespace jaxmg::cuda
