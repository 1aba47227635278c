// The CUDA backend's operations for the reduction to band form. A panel of 64 columns occurs n / 64
// times and all ranks wait for it: bound by the latency of some 16 launches and of one read by the
// host. With all that a panel needs beside, some 45 operations in a row, it is 0.4 ms on an H200.
#include "kernels/band_reduction.hpp"

#include "device/cuda/backend.hpp"
#include "device/cuda/grid.hpp"
#include "device/cuda/kernels/shapes.hpp"

namespace jaxmg::cuda {

using Kernels = kernels::band_reduction;

template <class T>
void Backend::mark_zero(Queue& queue, MatrixView<const T> A, std::int32_t* info) {
  static_assert(is_zero == -1);  // all bits set
  set_bytes(queue.stream(), info, 0xff, sizeof(std::int32_t));
  if (!A.empty()) launch<Kernels, "mark_zero", T>(grid_for(queue.stream(), A), A, info);
}

template <class S, class T>
void Backend::convert(Queue& queue, MatrixView<const S> src, MatrixView<T> dst) {
  if (!dst.empty()) launch<Kernels, "convert", S, T>(grid_for(queue.stream(), dst), src, dst);
}

template <class T>
void Backend::expect_identity(Queue& queue, MatrixView<const T> G, double tolerance,
                              std::int32_t* info) {
  constexpr std::size_t bytes = warp_size * sizeof(double);
  launch<Kernels, "expect_identity", T>({queue.stream(), 1, wide_block, bytes}, G, tolerance, info);
}

// cuSOLVER's potrf takes five times as long for 64 columns.
template <class T>
void Backend::small_cholesky(Queue& queue, MatrixView<T> A, std::int32_t* info) {
  if (A.empty()) return;
  const std::size_t bytes = static_cast<std::size_t>(A.cols * A.cols) * sizeof(T);
  const bool fits = bytes <= most_shared();
  launch<Kernels, "cholesky", T>({queue.stream(), 1, wide_block, fits ? bytes : 0}, A, fits, info);
}

template <class T>
void Backend::divide_rows(Queue& queue, MatrixView<const T> L, MatrixView<T> B) {
  if (B.empty()) return;
  constexpr index_t width = substitution_columns<T>;
  const index_t padded = ceil_div(L.cols, width) * width;
  const auto elements = static_cast<std::size_t>(padded * (padded + substitution_rows));
  const std::size_t bytes = elements * sizeof(T);
  if (bytes > most_shared()) return trsm<T>(queue, Side::right, Op::conj_trans, L, B);
  const auto blocks = static_cast<unsigned>(ceil_div(B.rows, substitution_rows));
  launch<Kernels, "divide_rows", T>({queue.stream(), blocks, substitution_rows, bytes}, L, B);
}

template <class T>
void Backend::reconstruct(Queue& queue, MatrixView<T> Q1, MatrixView<const T> Rh, MatrixView<T> Uh,
                          MatrixView<T> factor) {
  if (Q1.empty()) return;
  const std::size_t matrices = 2 * static_cast<std::size_t>(Q1.cols * Q1.cols) * sizeof(T);
  const std::size_t signs = static_cast<std::size_t>(Q1.cols) * sizeof(double);
  const bool fits = matrices + signs <= most_shared();
  const Grid grid{queue.stream(), 1, wide_block, fits ? matrices + signs : signs};
  launch<Kernels, "reconstruct", T>(grid, Q1, Rh, Uh, factor, fits);
}

template <class T>
void Backend::householder_qr(Queue& queue, MatrixView<T> A, MatrixView<T> factor,
                             MatrixView<T> scratch) {
  if (A.empty()) return;
  const auto width = static_cast<unsigned>(A.cols);
  const MatrixView<T> G = scratch.block(0, 0, A.cols, A.cols);
  const Reflections<T> reflections{scratch.block(0, A.cols, A.cols, 3 * A.cols)};
  constexpr std::size_t bytes = warp_size * (sizeof(T) + 3 * sizeof(double));
  for (int j = 0; j < static_cast<int>(width); ++j) {
    launch<Kernels, "householder_column", T>({queue.stream(), width, wide_block, bytes}, A, j,
                                             reflections, G);
  }
  launch<Kernels, "finish_householder", T>({queue.stream(), width, wide_block}, A, reflections);
  launch<Kernels, "householder_factor", T>({queue.stream(), 1, 64}, MatrixView<const T>(G),
                                           reflections, factor);
}

template <class T>
void Backend::unit_lower(Queue& queue, MatrixView<T> A) {
  const MatrixView<T> top = A.row_range(0, std::min(A.rows, A.cols));
  if (!top.empty()) launch<Kernels, "unit_lower", T>(grid_for(queue.stream(), top), top);
}

template <class T>
void Backend::copy_band(Queue& queue, MatrixView<const T> A, MatrixView<T> band) {
  if (!band.empty()) launch<Kernels, "copy_band", T>(grid_for(queue.stream(), band), A, band);
}

template <class T>
void Backend::spread_rows(Queue& queue, MatrixView<const T> from, const TiledRows& places,
                          MatrixView<T> to) {
  if (from.empty()) return;
  launch<Kernels, "spread_rows", T>(grid_for(queue.stream(), from), from, places, to);
}

template <class T>
void Backend::collect_rows(Queue& queue, MatrixView<const T> from, const TiledRows& places,
                           MatrixView<T> to) {
  if (to.empty()) return;
  launch<Kernels, "collect_rows", T>(grid_for(queue.stream(), to), from, places, to);
}

#define JAXMG_INSTANTIATE(T)                                                          \
  template void Backend::mark_zero(Queue&, MatrixView<const T>, std::int32_t*);       \
  template void Backend::convert(Queue&, MatrixView<const T>, MatrixView<wide_t<T>>); \
  template void Backend::unit_lower(Queue&, MatrixView<T>);                           \
  template void Backend::copy_band(Queue&, MatrixView<const T>, MatrixView<T>);       \
  template void Backend::spread_rows(Queue&, MatrixView<const T>, const TiledRows&,   \
                                     MatrixView<T>);                                  \
  template void Backend::collect_rows(Queue&, MatrixView<const T>, const TiledRows&, MatrixView<T>);
JAXMG_INSTANTIATE(float)
JAXMG_INSTANTIATE(double)
JAXMG_INSTANTIATE(std::complex<float>)
JAXMG_INSTANTIATE(std::complex<double>)
#undef JAXMG_INSTANTIATE
template void Backend::convert(Queue&, MatrixView<const double>, MatrixView<float>);
template void Backend::convert(Queue&, MatrixView<const std::complex<double>>,
                               MatrixView<std::complex<float>>);

#define JAXMG_INSTANTIATE_WIDE(W)                                                               \
  template void Backend::expect_identity(Queue&, MatrixView<const W>, double, std::int32_t*);   \
  template void Backend::small_cholesky(Queue&, MatrixView<W>, std::int32_t*);                  \
  template void Backend::divide_rows(Queue&, MatrixView<const W>, MatrixView<W>);               \
  template void Backend::reconstruct(Queue&, MatrixView<W>, MatrixView<const W>, MatrixView<W>, \
                                     MatrixView<W>);                                            \
  template void Backend::householder_qr(Queue&, MatrixView<W>, MatrixView<W>, MatrixView<W>);
JAXMG_INSTANTIATE_WIDE(double)
JAXMG_INSTANTIATE_WIDE(std::complex<double>)
#undef JAXMG_INSTANTIATE_WIDE

}  // namespace jaxmg::cuda
