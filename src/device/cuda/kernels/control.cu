// Kernels that compute nothing: a check of operands, and what tests need to go wrong.
#include "device/cuda/kernels/device.cuh"
#include "device/cuda/kernels/regions.hpp"

namespace jaxmg::cuda {

__global__ void spoil_unless_equal(Pair pair, std::int32_t first, std::int32_t second,
                                   Regions regions) {
  if (*pair.first == first && *pair.second == second) return;
  const index_t step = static_cast<index_t>(gridDim.x) * blockDim.x;
  for (const Region& region : regions.of) {
    for (index_t i = static_cast<index_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < region.words;
         i += step) {
      region.data[i] = -1;
    }
  }
}

unsigned long long nanoseconds() {
  unsigned long long now = 0;
  asm volatile("mov.u64 %0, %globaltimer;" : "=l"(now));
  return now;
}

__global__ void spin(unsigned long long duration) {
  const unsigned long long begin = nanoseconds();
  while (nanoseconds() - begin < duration) __nanosleep(1000);
}

__global__ void trap() { asm("trap;"); }

}  // namespace jaxmg::cuda
