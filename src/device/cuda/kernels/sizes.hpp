// Sizes of thread blocks and tiles, for kernels and for those who launch them.
#pragma once

#include "jaxmg/types.hpp"

namespace jaxmg::cuda {

/// Threads of a block, where a kernel says nothing else.
inline constexpr int threads = 256;

inline constexpr int transposed_tile = 32, transposed_rows = 8;

/// Width of the diagonal blocks that invert_small_blocks() inverts.
inline constexpr index_t small_block = 64;

}  // namespace jaxmg::cuda
