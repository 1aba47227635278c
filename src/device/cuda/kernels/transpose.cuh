// Transposition by way of shared memory.
#pragma once

#include "device/cuda/kernels/builtins.cuh"
#include "device/cuda/kernels/device.cuh"
#include "device/cuda/kernels/sizes.hpp"

namespace jaxmg::cuda {

/// dst(i, j) := value(src(j, i), j), so that both sides are read and written along columns. Of a
/// grid_to_transpose().
template <class S, class T, class F>
void transpose(MatrixView<const S> src, MatrixView<T> dst, const F& value) {
  const MatrixView<S> tile(shared_memory<S>(), transposed_tile, transposed_tile,
                           transposed_tile + 1);
  const index_t tiles_down = (dst.rows + transposed_tile - 1) / transposed_tile;
  const index_t tiles = tiles_down * ((dst.cols + transposed_tile - 1) / transposed_tile);
  const int x = static_cast<int>(threadIdx.x) % transposed_tile;
  const int y = static_cast<int>(threadIdx.x) / transposed_tile;
  for (index_t t = blockIdx.x; t < tiles; t += gridDim.x) {
    const index_t i = t % tiles_down * transposed_tile, j = t / tiles_down * transposed_tile;
    for (int r = y; r < transposed_tile; r += transposed_rows) {
      if (j + x < dst.cols && i + r < dst.rows) tile(x, r) = src(j + x, i + r);
    }
    __syncthreads();
    for (int r = y; r < transposed_tile; r += transposed_rows) {
      if (i + x < dst.rows && j + r < dst.cols) dst(i + x, j + r) = value(tile(r, x), j + r);
    }
    __syncthreads();
  }
}

}  // namespace jaxmg::cuda
