// The CUDA backend's operations of bulge chasing and its back-transform.
//
// chase() is bound by latency, kernels/bulge_chasing.cu. apply_diamonds() is the largest part of
// an eigensolver, 4 n^3 / P flops in products of inner size 2 b. On an H200 all of the
// back-transform ran at 36 TF in float64, 39 in float32 and 34 in complex128 (n = 16384, b = 64,
// batches of 16 by 16384 rows); at 29 in float64 when it worked on V's columns, 2048 at a time.
#include "kernels/bulge_chasing.hpp"

#include <string>

#include "device/cuda/backend.hpp"
#include "device/cuda/gemm_batch.hpp"
#include "device/cuda/grid.hpp"
#include "device/cuda/kernels/shapes.hpp"
#include "jaxmg/error.hpp"

namespace jaxmg::cuda {
namespace {

using Kernels = kernels::bulge_chasing;

template <int number>
using Number = std::integral_constant<int, number>;

/// For bands of up to 32 `halves` subdiagonals.
template <int halves, class T>
void launch_chase(Queue& queue, MatrixView<T> band, index_t first_sweep, index_t sweeps,
                  MatrixView<T> reflectors, const ChaseScratch& scratch) {
  using Shape = ChaseShape<halves>;
  // More blocks than sweeps that can be on their way would wait for nothing.
  const index_t levels = ceil_div(band.cols, std::max<index_t>(1, band.rows / 2));
  const index_t blocks =
      std::min({sweeps, levels / 2 + 2, 2 * static_cast<index_t>(multiprocessors())});
  const Grid grid{queue.stream(), static_cast<unsigned>(blocks), Shape::block,
                  (Shape::elements + 1) * sizeof(T)};
  launch<Kernels, "chase", T, Number<halves>>(grid, band, first_sweep, static_cast<int>(sweeps),
                                              reflectors, scratch.progress, scratch.letters);
}

}  // namespace

template <class T>
void Backend::chase(Queue& queue, MatrixView<T> band, index_t first_sweep, index_t sweeps,
                    MatrixView<T> reflectors, const ChaseScratch& scratch) {
  if (sweeps == 0) return;
  const index_t bandwidth = band.rows / 2;
  if (bandwidth > widest_chased_band) {
    throw InvalidArgument("bandwidth: expected at most " + std::to_string(widest_chased_band) +
                          " on a GPU, got " + std::to_string(bandwidth));
  }
  set_bytes(queue.stream(), scratch.progress, 0,
            static_cast<std::size_t>(sweeps + 1) * sizeof(std::int32_t));
  set_bytes(
      queue.stream(), scratch.letters, 0,
      static_cast<std::size_t>(chase_letters<T>(band.cols, bandwidth)) * sizeof(std::uint64_t));
  set_zero(queue.stream(), reflectors);
  if (bandwidth <= warp_size) {
    launch_chase<1>(queue, band, first_sweep, sweeps, reflectors, scratch);
  } else {
    launch_chase<2>(queue, band, first_sweep, sweeps, reflectors, scratch);
  }
}

template <class T>
void Backend::extract_tridiagonal(Queue& queue, MatrixView<const T> band, real_t<T>* d,
                                  real_t<T>* e, T* phases) {
  if (band.cols == 0) return;
  launch<Kernels, "extract_tridiagonal", T>({queue.stream(), 1, wide_block, wide_block * sizeof(T)},
                                            band, d, e, phases);
}

template <class T, class S>
void Backend::scaled_adjoint(Queue& queue, const T* phases, MatrixView<const S> Z,
                             MatrixView<T> U) {
  if (U.empty()) return;
  launch<Kernels, "scaled_adjoint", T, S>(grid_to_transpose<S>(queue.stream(), U), phases, Z, U);
}

template <class T>
void Backend::form_diamonds(Queue& queue, const DiamondWaves& waves, MatrixView<const T> reflectors,
                            index_t first_wave, MatrixView<T> diamonds) {
  if (diamonds.empty()) return;
  const index_t size = waves.height();
  const index_t room = diamonds.cols / (waves.groups() * size);
  const index_t count = std::min(waves.waves() - first_wave, room);
  if (count <= 0) return;
  const Diamonds numbers{waves.bandwidth(), waves.sweeps(), waves.levels(), waves.group(),
                         waves.groups()};
  const Grid grid{queue.stream(),
                  dim3(static_cast<unsigned>(waves.groups()), static_cast<unsigned>(count),
                       static_cast<unsigned>(ceil_div(size, diamond_warps * diamond_columns))),
                  diamond_warps * warp_size};
  const auto form = [&]<int H>(Number<H>) {
    launch<Kernels, "form_diamonds", T, Number<H>>(grid, numbers, reflectors, first_wave, diamonds);
  };
  if (size <= 2 * warp_size) {
    form(Number<2>());
  } else if (size <= 4 * warp_size) {
    form(Number<4>());
  } else if (size <= 8 * warp_size) {
    form(Number<8>());
  } else {
    throw InvalidArgument("height of a diamond: expected at most 256 on a GPU, got " +
                          std::to_string(size));
  }
}

template <class T>
void Backend::apply_diamonds(Queue& queue, MatrixView<const T> diamonds, MatrixView<const T> from,
                             MatrixView<T> to) {
  if (to.empty() || diamonds.empty()) return;
  const index_t size = diamonds.rows, whole = to.cols / size;
  const auto multiply = [&](index_t first, index_t width, index_t products) {
    const index_t end = first + width;
    gemm_batch<T>(queue.lane(), CUBLAS_OP_N, CUBLAS_OP_C, T(1), from.column_range(first, end),
                  size * from.ld, diamonds.block(0, first, width, width), size * diamonds.ld,
                  to.column_range(first, end), size * to.ld, products);
  };
  if (whole > 0) multiply(0, size, whole);
  if (whole * size < to.cols) multiply(whole * size, to.cols - whole * size, 1);
}

#define JAXMG_INSTANTIATE(T)                                                                      \
  template void Backend::chase(Queue&, MatrixView<T>, index_t, index_t, MatrixView<T>,            \
                               const ChaseScratch&);                                              \
  template void Backend::extract_tridiagonal(Queue&, MatrixView<const T>, real_t<T>*, real_t<T>*, \
                                             T*);                                                 \
  template void Backend::scaled_adjoint(Queue&, const T*, MatrixView<const T>, MatrixView<T>);    \
  template void Backend::form_diamonds(Queue&, const DiamondWaves&, MatrixView<const T>, index_t, \
                                       MatrixView<T>);                                            \
  template void Backend::apply_diamonds(Queue&, MatrixView<const T>, MatrixView<const T>,         \
                                        MatrixView<T>);
JAXMG_INSTANTIATE(float)
JAXMG_INSTANTIATE(double)
JAXMG_INSTANTIATE(std::complex<float>)
JAXMG_INSTANTIATE(std::complex<double>)
template void Backend::scaled_adjoint(Queue&, const std::complex<float>*, MatrixView<const float>,
                                      MatrixView<std::complex<float>>);
template void Backend::scaled_adjoint(Queue&, const std::complex<double>*, MatrixView<const double>,
                                      MatrixView<std::complex<double>>);

}  // namespace jaxmg::cuda
