// Kernels of the tridiagonal eigensolver. What bounds each is said in contract_tridiagonal.hpp: the
// rate of divisions for the secular equation, memory for moving columns, the chain of divisions for
// leaves and bisection.
#include "device/cuda/kernels/builtins.cuh"
#include "device/cuda/kernels/warp.cuh"
#include "device/leaf.hpp"
#include "device/secular.hpp"
#include "device/sturm.hpp"

namespace jaxmg::cuda {

/// A block a leaf, a thread a row of its eigenvectors: each has all of the leaf to itself.
template <class R>
__global__ void solve_leaves(const index_t* borders, double* d, double* e, MatrixView<R> Q,
                             int* info) {
  const index_t first = borders[blockIdx.x], at = first - borders[0];
  const int size = static_cast<int>(borders[blockIdx.x + 1] - first);
  const int row = static_cast<int>(threadIdx.x);
  double own_d[leaf_width] = {}, own_e[leaf_width] = {}, z[leaf_width] = {};
  for (int i = 0; i < size; ++i) {
    own_d[i] = d[first + i];
    own_e[i] = i + 1 < size ? e[first + i] : 0;
    z[i] = i == row ? 1 : 0;
  }
  const bool found = solve_leaf(size, own_d, own_e, z);
  __syncthreads();  // all have read d
  if (row >= size) return;
  for (int j = 0; j < size; ++j) Q(at + row, at + j) = static_cast<R>(z[j]);
  d[first + row] = own_d[row];
  if (row == 0 && !found) *info = static_cast<int>(first + 1);
}

/// A thread a row. The second column of a rotation is mostly the first one of the next: it is kept.
template <class R>
__global__ void rotate_columns(const Rotation* rotations, index_t count, MatrixView<R> Q) {
  const index_t i = static_cast<index_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i >= Q.rows) return;
  index_t held = -1;
  R value = 0;
  for (index_t r = 0; r < count; ++r) {
    const Rotation rotation = rotations[r];
    const R c = static_cast<R>(rotation.cosine), s = static_cast<R>(rotation.sine);
    if (held != rotation.first) {
      if (held >= 0) Q(i, held) = value;
      value = Q(i, rotation.first);
    }
    const R x = value, y = Q(i, rotation.second);
    Q(i, rotation.first) = c * x + s * y;
    value = c * y - s * x;
    held = rotation.second;
  }
  if (held >= 0) Q(i, held) = value;
}

template <class R>
__global__ void gather_columns(MatrixView<const R> src, const index_t* columns, MatrixView<R> dst) {
  for_each(dst, [&](index_t i, index_t j) { dst(i, j) = src(i, columns[j]); });
}

/// The number of this warp in the grid.
inline index_t global_warp() {
  return static_cast<index_t>(blockIdx.x) * secular_warps + warp_index();
}

/// A warp a root.
__global__ void __launch_bounds__(secular_warps* warp_size)
    solve_secular(SecularEquation equation, index_t first, index_t last, SecularRoot* roots,
                  int* info) {
  const index_t j = first + global_warp();
  if (j >= last) return;
  SecularRoot root{0, 0};
  const bool found = find_root(WarpMember{}, equation, j, root);
  if (lane_index() != 0) return;
  roots[j] = root;
  if (!found) *info = 1;
}

/// A warp a weight.
__global__ void __launch_bounds__(secular_warps* warp_size)
    refine_weights(SecularEquation equation, const SecularRoot* roots, index_t first, index_t last,
                   double* weights) {
  const index_t i = first + global_warp();
  if (i >= last) return;
  const double weight = refined_weight(WarpMember{}, equation, roots, i);
  if (lane_index() == 0) weights[i] = weight;
}

/// A warp a column; a division costs less than to keep its result for the second pass.
template <class R>
__global__ void __launch_bounds__(secular_warps* warp_size)
    secular_vectors(SecularEquation equation, const SecularRoot* roots, const index_t* rows,
                    index_t first, double* values, MatrixView<R> S) {
  const index_t j = global_warp();
  if (j >= S.cols) return;
  const SecularRoot at = roots[first + j];
  const auto component = [&](index_t i) {
    return equation.z[i] / difference(equation.poles, i, at);
  };
  double square = 0;
  for (index_t i = lane_index(); i < equation.order; i += warp_size) {
    const double s = component(i);
    square += s * s;
  }
  const double scale = 1 / std::sqrt(warp_sum(square));
  for (index_t i = lane_index(); i < equation.order; i += warp_size) {
    S(rows[i], j) = static_cast<R>(scale * component(i));
  }
  if (lane_index() == 0) values[j] = equation.poles[at.origin] + at.offset;
}

/// The threads of a block share the work; see Alone.
struct BlockMember {
  static constexpr int depth = 10;
  double* scratch;  ///< warp_size elements of shared memory
  index_t first() const { return threadIdx.x; }
  index_t count() const { return blockDim.x; }
  double largest(double x) const {
    __syncthreads();  // all have read what was there
    x = warp_largest(x);
    if (lane_index() == 0) scratch[warp_index()] = x;
    __syncthreads();
    const int last_warp = static_cast<int>(blockDim.x) / warp_size - 1;
    return warp_largest(scratch[std::min(lane_index(), last_warp)]);
  }
};

/// A thread an eigenvalue; the interval that holds all is found by each block.
template <class R>
__global__ void bisect(const R* d, const R* e, index_t n, index_t first, index_t last, R* w,
                       int* info) {
  const SturmSequence<R> sequence(BlockMember{shared_memory<double>()}, d, e, n);
  const index_t j = static_cast<index_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (!sequence.finite()) {
    if (j == 0) *info = 1;
    if (first + j < last) w[j] = std::numeric_limits<R>::quiet_NaN();
    return;
  }
  if (first + j < last) sequence.template eigenvalues<1>(first + j, 1, w + j);
}

#define JAXMG_INSTANTIATE(R)                                                                    \
  template __global__ void solve_leaves(const index_t*, double*, double*, MatrixView<R>, int*); \
  template __global__ void rotate_columns(const Rotation*, index_t, MatrixView<R>);             \
  template __global__ void gather_columns(MatrixView<const R>, const index_t*, MatrixView<R>);  \
  template __global__ void secular_vectors(SecularEquation, const SecularRoot*, const index_t*, \
                                           index_t, double*, MatrixView<R>);                    \
  template __global__ void bisect(const R*, const R*, index_t, index_t, index_t, R*, int*);
JAXMG_INSTANTIATE(float)
JAXMG_INSTANTIATE(double)

}  // namespace jaxmg::cuda
