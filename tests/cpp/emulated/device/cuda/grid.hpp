// In place of the library's header of this name, and of kernel_file.hpp.
#pragma once

#include <algorithm>
#include <cstring>
#include <string_view>

#include <cuda_runtime_api.h>

#include "device/cuda/kernels/sizes.hpp"
#include "emulated/gpu.hpp"
#include "jaxmg/view.hpp"

namespace jaxmg::emulated {

struct Grid {
  cudaStream_t stream;
  dim3 blocks;
  dim3 threads;
  std::size_t shared_bytes = 0;
};

/// A string as a template argument.
template <std::size_t size>
struct Text {
  char characters[size] = {};

  constexpr Text(const char (&text)[size]) {  // NOLINT(google-explicit-constructor)
    for (std::size_t i = 0; i < size; ++i) characters[i] = text[i];
  }
  constexpr std::string_view view() const { return {characters, size - 1}; }
};

inline constexpr unsigned wide_block = 64;

inline index_t ceil_div(index_t a, index_t b) { return (a + b - 1) / b; }
/// So few that blocks and threads must go on to further elements.
template <class T>
Grid grid_for(cudaStream_t stream, MatrixView<T> view) {
  return {stream, static_cast<unsigned>(std::min<index_t>(view.rows * view.cols, 3)), 64};
}
template <class S, class T>
Grid grid_to_transpose(cudaStream_t stream, MatrixView<T> dst) {
  const index_t tiles = ceil_div(dst.rows, transposed_tile) * ceil_div(dst.cols, transposed_tile);
  return {stream, static_cast<unsigned>(std::min<index_t>(tiles, 2)),
          transposed_tile * transposed_rows, sizeof(S) * transposed_tile * (transposed_tile + 1)};
}
/// So little that the paths of what does not fit are taken as well.
inline std::size_t most_shared() { return 20 * 1024; }
inline int multiprocessors() { return 4; }

template <class File, Text name, class... As, class... Parameters>
void launch(const Grid& grid, const Parameters&... parameters) {
  grid.stream->enqueue([=] {
    run_grid(grid.blocks, grid.threads.x, grid.shared_bytes,
             [&] { File::template kernel<name, As...>()(parameters...); });
  });
}

inline void set_bytes(cudaStream_t stream, void* data, int value, std::size_t bytes) {
  if (bytes > 0) stream->enqueue([=] { std::memset(data, value, bytes); });
}
template <class T>
void set_zero(cudaStream_t stream, MatrixView<T> A) {
  stream->enqueue([=] {
    for (index_t j = 0; j < A.cols; ++j) std::fill_n(&A(0, j), A.rows, T(0));
  });
}

}  // namespace jaxmg::emulated
