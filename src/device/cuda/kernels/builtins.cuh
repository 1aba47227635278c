// What kernels ask of the machine itself beside CUDA's own names.
#pragma once

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

/// For a moment.
inline void pause() { __nanosleep(20); }

}  // namespace jaxmg::cuda
