// Faults for tests.
#pragma once

#include "device/cuda/backend.hpp"
#include "team/rank.hpp"

namespace jaxmg::ffi {

/// What goes wrong with one rank of the next call.
enum class Fault : std::int32_t {
  error = 1,          ///< the `after`-th CUDA call of its program reports cudaErrorUnknown
  out_of_memory = 2,  ///< its next cudaMalloc reports cudaErrorMemoryAllocation
  late = 3,           ///< it comes `after` ms late
  trap = 4,           ///< one of its kernels traps, which no process survives
  stall = 5           ///< it comes in time and then does nothing for `after` ms
};

/// Replaces what was injected before. It is used up by the next call that has such a rank.
void inject_fault(int rank, Fault fault, int after);

/// `program` with the fault that has been injected for `rank`, if there is one.
RankProgram<cuda::Backend> with_injected_fault(int rank, RankProgram<cuda::Backend> program);

}  // namespace jaxmg::ffi
