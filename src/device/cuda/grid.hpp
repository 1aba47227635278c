// Grids of thread blocks for kernels, and what a GPU has room for.
#pragma once

#include "device/cuda/check.hpp"
#include "device/cuda/kernel_file.hpp"
#include "device/cuda/kernels/sizes.hpp"
#include "jaxmg/view.hpp"

namespace jaxmg::cuda {

/// Threads of a block that works on a small matrix, or on a column, by itself.
inline constexpr unsigned wide_block = 512;

inline index_t ceil_div(index_t a, index_t b) { return (a + b - 1) / b; }
inline unsigned at_most(index_t wanted, index_t most) {
  return static_cast<unsigned>(wanted < most ? wanted : most);
}

/// One thread an element, within what fills any GPU.
template <class T>
Grid grid_for(cudaStream_t stream, MatrixView<T> view) {
  return {stream, at_most(ceil_div(view.rows * view.cols, threads), 4096), threads};
}

/// For kernels that transpose() to `dst`, by way of elements S.
template <class S, class T>
Grid grid_to_transpose(cudaStream_t stream, MatrixView<T> dst) {
  const index_t tiles = ceil_div(dst.rows, transposed_tile) * ceil_div(dst.cols, transposed_tile);
  return {stream, at_most(tiles, 8192), transposed_tile * transposed_rows,
          sizeof(S) * transposed_tile * (transposed_tile + 1)};
}

/// Property `which` of this thread's GPU.
inline int device_attribute(cudaDeviceAttr which) {
  int device = 0, value = 0;
  JAXMG_CUDA(cudaGetDevice(&device));
  JAXMG_CUDA(cudaDeviceGetAttribute(&value, which, device));
  return value;
}
inline int multiprocessors() { return device_attribute(cudaDevAttrMultiProcessorCount); }
/// Bytes of shared memory that a block may have.
inline std::size_t most_shared() {
  return static_cast<std::size_t>(device_attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin));
}

/// Sets `bytes` bytes.
inline void set_bytes(cudaStream_t stream, void* data, int value, std::size_t bytes) {
  if (bytes > 0) JAXMG_CUDA(cudaMemsetAsync(data, value, bytes, stream));
}

/// A := 0
template <class T>
void set_zero(cudaStream_t stream, MatrixView<T> A) {
  if (A.empty()) return;
  const auto bytes = [](index_t count) { return static_cast<std::size_t>(count) * sizeof(T); };
  JAXMG_CUDA(cudaMemset2DAsync(A.data, bytes(A.ld), 0, bytes(A.rows),
                               static_cast<std::size_t>(A.cols), stream));
}

}  // namespace jaxmg::cuda
