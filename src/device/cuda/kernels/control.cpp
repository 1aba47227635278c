#include "kernels/control.hpp"

#include "device/cuda/kernels.hpp"

namespace jaxmg::cuda {

using kernels::control;

void launch_spoil_unless_equal(cudaStream_t stream, Pair pair, std::int32_t first,
                               std::int32_t second, const Regions& regions) {
  constexpr unsigned blocks = 128;
  launch<control, "spoil_unless_equal">({stream, blocks, threads}, pair, first, second, regions);
}

void launch_spin(cudaStream_t stream, unsigned microseconds) {
  launch<control, "spin">({stream, 1, 1}, 1000ULL * microseconds);
}

void launch_trap(cudaStream_t stream) { launch<control, "trap">({stream, 1, 1}); }

}  // namespace jaxmg::cuda
