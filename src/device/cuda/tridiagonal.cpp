// The CUDA backend's operations of the tridiagonal eigensolver. Of a large merge the products are
// most of the time, of small ones the latency of some eight launches; bisection is bound by the
// chain of its divisions.
#include "kernels/tridiagonal.hpp"

#include "device/cuda/backend.hpp"
#include "device/cuda/grid.hpp"
#include "device/cuda/kernels/shapes.hpp"

namespace jaxmg::cuda {
namespace {

using Kernels = kernels::tridiagonal;

/// A warp for each of `count` items.
Grid warps_for(Queue& queue, index_t count) {
  return {queue.stream(), static_cast<unsigned>(ceil_div(count, secular_warps)),
          secular_warps * warp_size};
}

}  // namespace

template <class R>
void Backend::solve_leaves(Queue& queue, const index_t* borders, index_t count, double* d,
                           double* e, MatrixView<R> Q, std::int32_t* info) {
  static_assert(leaf_width == widest_leaf && leaf_width == warp_size);
  if (count == 0) return;
  launch<Kernels, "solve_leaves", R>({queue.stream(), static_cast<unsigned>(count), leaf_width},
                                     borders, d, e, Q, info);
}

template <class R>
void Backend::rotate_columns(Queue& queue, const Rotation* rotations, index_t count,
                             MatrixView<R> Q) {
  if (count == 0 || Q.rows == 0) return;
  constexpr unsigned rows = 128;  // a thread each
  launch<Kernels, "rotate_columns", R>(
      {queue.stream(), static_cast<unsigned>(ceil_div(Q.rows, rows)), rows}, rotations, count, Q);
}

template <class R>
void Backend::gather_columns(Queue& queue, MatrixView<const R> src, const index_t* columns,
                             MatrixView<R> dst) {
  if (dst.empty()) return;
  launch<Kernels, "gather_columns", R>(grid_for(queue.stream(), dst), src, columns, dst);
}

void Backend::solve_secular(Queue& queue, const SecularEquation& equation, index_t first,
                            index_t last, SecularRoot* roots, std::int32_t* info) {
  if (first >= last) return;
  launch<Kernels, "solve_secular">(warps_for(queue, last - first), equation, first, last, roots,
                                   info);
}

void Backend::refine_weights(Queue& queue, const SecularEquation& equation,
                             const SecularRoot* roots, index_t first, index_t last,
                             double* weights) {
  if (first >= last) return;
  launch<Kernels, "refine_weights">(warps_for(queue, last - first), equation, roots, first, last,
                                    weights);
}

template <class R>
void Backend::secular_vectors(Queue& queue, const SecularEquation& equation,
                              const SecularRoot* roots, const index_t* rows, index_t first,
                              double* values, MatrixView<R> S) {
  if (S.empty()) return;
  launch<Kernels, "secular_vectors", R>(warps_for(queue, S.cols), equation, roots, rows, first,
                                        values, S);
}

template <class R>
void Backend::bisect(Queue& queue, const R* d, const R* e, index_t n, index_t first, index_t last,
                     R* w, std::int32_t* info) {
  if (n == 0) return;
  // As many blocks as can be: what counts is that all multiprocessors have the same to do. One,
  // where there is no eigenvalue to find, tells what is not finite.
  constexpr unsigned small_block_threads = 64;
  const index_t blocks = std::max<index_t>(1, ceil_div(last - first, small_block_threads));
  launch<Kernels, "bisect", R>({queue.stream(), static_cast<unsigned>(blocks), small_block_threads,
                                warp_size * sizeof(double)},
                               d, e, n, first, last, w, info);
}

#define JAXMG_INSTANTIATE(R)                                                                 \
  template void Backend::solve_leaves(Queue&, const index_t*, index_t, double*, double*,     \
                                      MatrixView<R>, std::int32_t*);                         \
  template void Backend::rotate_columns(Queue&, const Rotation*, index_t, MatrixView<R>);    \
  template void Backend::gather_columns(Queue&, MatrixView<const R>, const index_t*,         \
                                        MatrixView<R>);                                      \
  template void Backend::secular_vectors(Queue&, const SecularEquation&, const SecularRoot*, \
                                         const index_t*, index_t, double*, MatrixView<R>);   \
  template void Backend::bisect(Queue&, const R*, const R*, index_t, index_t, index_t, R*,   \
                                std::int32_t*);
JAXMG_INSTANTIATE(float)
JAXMG_INSTANTIATE(double)

}  // namespace jaxmg::cuda
