// Kernels of the reduction to band form.
//
// What is m x b is bound by memory, or by the latency of its launch: a panel of 6600 x 64 takes
// 6 us on an H200 at its base clock (ncu). What is b x b is one block's work, bound by the latency
// of a __syncthreads() and a product a column.
#include "device/cuda/kernels/builtins.cuh"
#include "device/cuda/kernels/reflection.cuh"
#include "device/cuda/kernels/warp.cuh"
#include "distribution/tiled_rows.hpp"

namespace jaxmg::cuda {

/// f(i, j) for all i < rows, j < cols, by the warps of one block, each a column at a time.
template <class F>
void for_each_in_block(int rows, int cols, const F& f) {
  const int warps = static_cast<int>(blockDim.x) / warp_size;
  for (int j = warp_index(); j < cols; j += warps) {
    for (int i = lane_index(); i < rows; i += warp_size) f(i, j);
  }
}

/// *info := 0 if A has an entry that is not 0.
template <class D>
__global__ void mark_zero(MatrixView<const D> A, int* info) {
  bool found = false;
  for_each(A, [&](index_t i, index_t j) { found = found || A(i, j) != D(0); });
  if (found && *info != 0) *info = 0;  // few write: each waits for those before it
}

template <class S, class D>
__global__ void convert(MatrixView<const S> src, MatrixView<D> dst) {
  for_each(dst, [&](index_t i, index_t j) { dst(i, j) = D(src(i, j)); });
}

template <class D>
__global__ void unit_lower(MatrixView<D> A) {
  for_each(A, [&](index_t i, index_t j) {
    if (i <= j) A(i, j) = D(i == j ? 1 : 0);
  });
}

template <class D>
__global__ void copy_band(MatrixView<const D> A, MatrixView<D> band) {
  for_each(band, [&](index_t i, index_t j) {
    const D a = j + i < A.rows ? A(j + i, j) : D(0);
    band(i, j) = i == 0 ? D(real_part(a)) : a;
  });
}

template <class D>
__global__ void spread_rows(MatrixView<const D> from, TiledRows places, MatrixView<D> to) {
  for_each(from, [&](index_t i, index_t j) { to(places(i), j) = from(i, j); });
}

template <class D>
__global__ void collect_rows(MatrixView<const D> from, TiledRows places, MatrixView<D> to) {
  for_each(to, [&](index_t i, index_t j) { to(i, j) = from(places(i), j); });
}

/// By one block.
template <class D>
__global__ void expect_identity(MatrixView<const D> G, double tolerance, int* info) {
  double sum = 0;
  const int n = static_cast<int>(G.cols);
  for_each_in_block(n, n, [&](int i, int j) { sum += square_of(G(i, j) - D(i == j ? 1 : 0)); });
  sum = block_sum(sum, shared_memory<double>());
  if (threadIdx.x == 0 && *info == 0 && !(std::sqrt(sum) <= tolerance)) *info = 1;
}

/// a / b, where b is no extreme number.
inline double quotient(double a, double b) { return a / b; }
inline std::complex<double> quotient(std::complex<double> a, std::complex<double> b) {
  return (1 / square_of(b)) * product_of(a, conjugate(b));
}

// ---- Small matrices, by one block ---------------------------------------------------------------

/// What a block works on: n x n, in shared memory if there is room, else where it is.
template <class D>
MatrixView<D> work_on(MatrixView<D> A, D* shared) {
  if (shared == nullptr) return A;
  const int n = static_cast<int>(A.cols);
  const MatrixView<D> copy{shared, n, n, n};
  for_each_in_block(n, n, [&](int i, int j) { copy(i, j) = A(i, j); });
  return copy;
}

/// A := its Cholesky factor, zeros above; *info := 1 if it was 0 and there is none.
///
/// Columns are divided by the roots of their pivots at the end, so that a step has one meeting.
template <class D>
__global__ void cholesky(MatrixView<D> A, bool in_shared, int* info) {
  const int n = static_cast<int>(A.cols);
  const MatrixView<D> L = work_on(A, in_shared ? shared_memory<D>() : nullptr);
  __syncthreads();
  bool good = true;
  for (int k = 0; k < n; ++k) {
    const double pivot = real_part(L(k, k));
    good = good && pivot > 0 && std::isfinite(pivot);
    if (!good) break;  // all threads alike
    const int rest = n - k - 1;
    const double inverse = 1 / pivot;
    for_each_in_block(rest, rest, [&](int i, int j) {
      if (i < j) return;
      i += k + 1;
      j += k + 1;
      L(i, j) = minus_product(L(i, j), L(i, k), inverse * conjugate(L(j, k)));
    });
    __syncthreads();
  }
  if (!good) {
    if (threadIdx.x == 0 && *info == 0) *info = 1;
    return;
  }
  // Other threads still need the pivots.
  for_each_in_block(n, n, [&](int i, int j) {
    const double root = std::sqrt(real_part(L(j, j)));
    if (i > j) A(i, j) = (1 / root) * L(i, j);
    if (i < j) A(i, j) = D(0);
  });
  __syncthreads();
  for (int j = static_cast<int>(threadIdx.x); j < n; j += static_cast<int>(blockDim.x)) {
    A(j, j) = D(std::sqrt(real_part(L(j, j))));
  }
}

/// See contract_band_reduction.hpp. `signs`: n elements of shared memory after the two matrices.
template <class D>
__global__ void reconstruct(MatrixView<D> Q1, MatrixView<const D> Rh, MatrixView<D> Uh,
                            MatrixView<D> factor, bool in_shared) {
  const int n = static_cast<int>(Q1.cols);
  D* const shared = shared_memory<D>();
  double* const signs = reinterpret_cast<double*>(in_shared ? shared + 2 * n * n : shared);
  const MatrixView<D> LU = work_on(Q1, in_shared ? shared : nullptr);
  const MatrixView<D> F = in_shared ? MatrixView<D>{shared + n * n, n, n, n} : factor;
  __syncthreads();
  // Q1 - S = L U: as it is, the columns of L come undivided.
  for (int k = 0; k < n; ++k) {
    const double sign = real_part(LU(k, k)) < 0 ? 1 : -1;
    const D pivot = LU(k, k) - D(sign);
    const D inverse = quotient(D(1), pivot);
    const int rest = n - k - 1;
    for_each_in_block(rest, rest, [&](int i, int j) {
      i += k + 1;
      j += k + 1;
      LU(i, j) = minus_product(LU(i, j), product_of(LU(i, k), inverse), LU(k, j));
    });
    __syncthreads();
    if (threadIdx.x == 0) {
      signs[k] = sign;
      LU(k, k) = pivot;
    }
  }
  __syncthreads();
  for_each_in_block(n, n, [&](int i, int j) {
    F(i, j) = i <= j ? -signs[j] * LU(i, j) : D(0);
    Uh(i, j) = i >= j ? conjugate(LU(j, i)) : D(0);
  });
  __syncthreads();
  for_each_in_block(n, n, [&](int i, int j) {
    if (i > j) LU(i, j) = quotient(LU(i, j), LU(j, j));
  });
  __syncthreads();
  // F := F L^-H, from the first column to the last.
  for (int k = 0; k < n; ++k) {
    for_each_in_block(k + 1, n - k - 1, [&](int i, int j) {
      j += k + 1;
      F(i, j) = minus_product(F(i, j), F(i, k), conjugate(LU(j, k)));
    });
    __syncthreads();
  }
  for_each_in_block(n, n, [&](int i, int j) {
    if (in_shared) factor(i, j) = F(i, j);
    if (i > j) {
      Q1(i, j) = LU(i, j);
    } else {
      Q1(i, j) = signs[i] * conjugate(Rh(j, i));
    }
  });
}

// ---- Tall matrices ------------------------------------------------------------------------------

/// B := B L^-H, a thread a row, some columns at a time in registers. In shared memory: L, with ld
/// `padded`, a multiple of as many columns, continued by the identity, its diagonal inverted; and
/// the block's rows of the result, k of all rows after k - 1 of all. n m b flops, bound by the
/// latency of shared memory: a column of L and a row's number for every product of that width.
template <class D>
__global__ void divide_rows(MatrixView<const D> L, MatrixView<D> B) {
  constexpr int width = substitution_columns<D>;
  const int n = static_cast<int>(L.cols), padded = (n + width - 1) / width * width;
  const int rows = static_cast<int>(blockDim.x), me = static_cast<int>(threadIdx.x);
  D* const shared = shared_memory<D>();
  D* const own = shared + padded * padded + me;
  const index_t row = static_cast<index_t>(blockIdx.x) * rows + me;
  const bool has_row = row < B.rows;
  for (int j = warp_index(); j < padded; j += rows / warp_size) {
#pragma unroll 4
    for (int i = lane_index(); i < padded; i += warp_size) {
      const bool there = i < n && j <= i;
      shared[i + j * padded] = there ? L(i, j) : D(i == j ? 1 : 0);
    }
  }
  __syncthreads();
  for (int j = me; j < n; j += rows) {
    shared[j + j * padded] = quotient(D(1), shared[j + j * padded]);
  }
  __syncthreads();
  for (int first = 0; first < n; first += width) {
    D x[width];
#pragma unroll
    for (int c = 0; c < width; ++c) {
      x[c] = has_row && first + c < n ? B(row, first + c) : D(0);
    }
#pragma unroll 4
    for (int k = 0; k < first; ++k) {
      const D known = own[k * rows];
#pragma unroll
      for (int c = 0; c < width; ++c) {
        x[c] = minus_product(x[c], known, conjugate(shared[first + c + k * padded]));
      }
    }
#pragma unroll
    for (int k = 0; k < width; ++k) {
      const D* const column = shared + first + (first + k) * padded;
      x[k] = product_of(x[k], conjugate(column[k]));
#pragma unroll
      for (int c = k + 1; c < width; ++c) x[c] = minus_product(x[c], x[k], conjugate(column[c]));
    }
#pragma unroll
    for (int c = 0; c < width; ++c) {
      own[(first + c) * rows] = x[c];
      if (has_row && first + c < n) B(row, first + c) = x[c];
    }
  }
}

// ---- Householder QR -----------------------------------------------------------------------------

/// What is smaller is taken for zero below the diagonal of a panel: a factor would overflow.
constexpr double negligible = 1e-300;

/// Also of NaN, in any part.
inline bool is_large(double a) { return !(std::abs(a) <= negligible); }
inline bool is_large(std::complex<double> a) { return is_large(a.real()) || is_large(a.imag()); }

/// Step j of a Householder QR of A, a block a column c. For c > j: the reflector of column j, which
/// every block works out by itself, is applied to column c; for c = j it is noted; for c < j
/// G(c, j) := v_c^H v_j. Columns keep x where v is wanted, until finish_householder: so none
/// is written that another block reads. Three passes over two columns, bound by the L2 cache's
/// latency: some 10 us for 16384 rows.
template <class W>
__global__ void householder_column(MatrixView<W> A, int j, Reflections<W> reflections,
                                   MatrixView<W> G) {
  W* const scratch = shared_memory<W>();
  double* const numbers = reinterpret_cast<double*>(scratch + warp_size);
  const int c = static_cast<int>(blockIdx.x);
  const W* const x = &A(0, j);
  double largest = 0, nonzero = 0;
  for (index_t i = j + threadIdx.x; i < A.rows; i += blockDim.x) {
    largest = std::max(largest, largest_part_of(x[i]));
    if (i > j && is_large(x[i])) nonzero = 1;
  }
  largest = block_largest(largest, numbers);
  nonzero = block_largest(nonzero, numbers + warp_size);
  Reflection<W> H{0, x[j], W(0)};
  if (nonzero != 0) {
    const double scale = safe_scale(largest);
    double tail = 0;
    for (index_t i = j + 1 + threadIdx.x; i < A.rows; i += blockDim.x) {
      tail += square_of(scale * x[i]);
    }
    tail = block_sum(tail, numbers + 2 * warp_size);
    H = reflection_of(scale * x[j], tail, scale);
    H.factor = scale * H.factor;
  }
  if (c == j) {
    if (threadIdx.x == 0) {
      reflections.tau(j) = W(H.tau);
      reflections.beta(j) = H.beta;
      reflections.factor(j) = H.factor;
    }
    return;
  }
  // v_j^H A(:, c), or of v_c in its place
  const W other_factor = c < j ? reflections.factor(c) : W(1);
  W* const other = &A(0, c);
  W product{};
  for (index_t i = j + threadIdx.x; i < A.rows; i += blockDim.x) {
    const W v = i == j ? W(1) : product_of(H.factor, x[i]);
    product = plus_product(product, conjugate(v), product_of(other_factor, other[i]));
  }
  product = block_sum(product, scratch);
  if (c < j) {
    if (threadIdx.x == 0) G(c, j) = conjugate(product);
    return;
  }
  if (H.tau == 0) return;
  const W factor = H.tau * product;
  for (index_t i = j + threadIdx.x; i < A.rows; i += blockDim.x) {
    const W v = i == j ? W(1) : product_of(H.factor, x[i]);
    other[i] = minus_product(other[i], v, factor);
  }
}

/// Puts v below the diagonal of each column and beta on it, a block a column.
template <class W>
__global__ void finish_householder(MatrixView<W> A, Reflections<W> reflections) {
  const int j = static_cast<int>(blockIdx.x);
  const W factor = reflections.factor(j);
  for (index_t i = j + 1 + threadIdx.x; i < A.rows; i += blockDim.x)
    A(i, j) = product_of(factor, A(i, j));
  if (threadIdx.x == 0) A(j, j) = reflections.beta(j);
}

/// T(:, j) := tau_j [-T G(:, j); 1; 0] by one block, a thread a row (LAPACK larft).
template <class W>
__global__ void householder_factor(MatrixView<const W> G, Reflections<W> reflections,
                                   MatrixView<W> T) {
  const int n = static_cast<int>(T.cols);
  for (int j = 0; j < n; ++j) {
    const W tau = reflections.tau(j);
    for (int i = static_cast<int>(threadIdx.x); i < n; i += static_cast<int>(blockDim.x)) {
      W sum{};
      if (i == j) sum = W(-1);
      for (int k = i; k < j; ++k) sum = plus_product(sum, T(i, k), G(k, j));
      T(i, j) = i > j ? W(0) : product_of(-tau, sum);
    }
  }
}

#define JAXMG_INSTANTIATE(T)                                                            \
  template __global__ void mark_zero(MatrixView<const T>, int*);                        \
  template __global__ void unit_lower(MatrixView<T>);                                   \
  template __global__ void copy_band(MatrixView<const T>, MatrixView<T>);               \
  template __global__ void spread_rows(MatrixView<const T>, TiledRows, MatrixView<T>);  \
  template __global__ void collect_rows(MatrixView<const T>, TiledRows, MatrixView<T>); \
  template __global__ void convert(MatrixView<const T>, MatrixView<wide_t<T>>);
JAXMG_INSTANTIATE(float)
JAXMG_INSTANTIATE(double)
JAXMG_INSTANTIATE(std::complex<float>)
JAXMG_INSTANTIATE(std::complex<double>)
template __global__ void convert(MatrixView<const double>, MatrixView<float>);
template __global__ void convert(MatrixView<const std::complex<double>>,
                                 MatrixView<std::complex<float>>);

#define JAXMG_INSTANTIATE_WIDE(W)                                                                 \
  template __global__ void expect_identity(MatrixView<const W>, double, int*);                    \
  template __global__ void cholesky(MatrixView<W>, bool, int*);                                   \
  template __global__ void reconstruct(MatrixView<W>, MatrixView<const W>, MatrixView<W>,         \
                                       MatrixView<W>, bool);                                      \
  template __global__ void divide_rows(MatrixView<const W>, MatrixView<W>);                       \
  template __global__ void householder_column(MatrixView<W>, int, Reflections<W>, MatrixView<W>); \
  template __global__ void finish_householder(MatrixView<W>, Reflections<W>);                     \
  template __global__ void householder_factor(MatrixView<const W>, Reflections<W>, MatrixView<W>);
JAXMG_INSTANTIATE_WIDE(double)
JAXMG_INSTANTIATE_WIDE(std::complex<double>)

}  // namespace jaxmg::cuda
