// Copies of a piece's columns on a stream, in and out of memory where they lie packed.
#pragma once

#include <cstddef>

#include "device/cuda/chaos.hpp"
#include "device/cuda/check.hpp"
#include "team/read_pieces.hpp"

namespace jaxmg::cuda {

inline void copy_columns(cudaStream_t stream, std::byte* to, index_t to_stride,
                         const std::byte* from, index_t from_stride, const ReadPiece& part) {
  const auto bytes = [](index_t count) { return static_cast<std::size_t>(count); };
  chaos_delay(stream);
  if (part.columns == 1 || (to_stride == part.height && from_stride == part.height)) {
    JAXMG_CUDA(
        cudaMemcpyAsync(to, from, bytes(part.height * part.columns), cudaMemcpyDefault, stream));
  } else {
    JAXMG_CUDA(cudaMemcpy2DAsync(to, bytes(to_stride), from, bytes(from_stride), bytes(part.height),
                                 bytes(part.columns), cudaMemcpyDefault, stream));
  }
}

}  // namespace jaxmg::cuda
