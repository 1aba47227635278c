// Factorisations: the verdict on a factor, inverses of its diagonal blocks, log-determinants.
#include "device/cuda/kernels/device.cuh"
#include "device/cuda/kernels/sizes.hpp"

namespace jaxmg::cuda {

template <class T>
__global__ void note_failure(MatrixView<const T> factor, const int* failed, index_t first_row,
                             std::int32_t* info) {
  __shared__ int first;
  if (threadIdx.x == 0) first = *failed > 0 ? *failed : static_cast<int>(factor.cols) + 1;
  __syncthreads();
  for (index_t i = threadIdx.x; i < factor.cols; i += blockDim.x) {
    const real_t<T> diagonal = real_part(factor(i, i));
    if (!(std::isfinite(diagonal) && diagonal > 0)) atomicMin(&first, static_cast<int>(i) + 1);
  }
  __syncthreads();
  if (threadIdx.x == 0 && first <= factor.cols && *info == 0) {
    *info = static_cast<std::int32_t>(first_row) + first;
  }
}

constexpr int half_block = small_block / 2;

/// X := T^-1 for the lower triangular T, both half_block wide with leading dimension small_block,
/// by one warp, a column a lane: x_k is subtracted at once from all rows below, so that these
/// products do not wait for each other.
template <class T>
void invert_by_warp(const T* L, T* X) {
  const int j = threadIdx.x % half_block;
  T x[half_block];
#pragma unroll
  for (int i = 0; i < half_block; ++i) x[i] = T(i == j ? 1 : 0);
#pragma unroll
  for (int k = 0; k < half_block; ++k) {
    x[k] /= real_part(L[k + k * small_block]);  // a factor's diagonal is real
#pragma unroll
    for (int i = k + 1; i < half_block; ++i) {
      x[i] = minus_product(x[i], L[i + k * small_block], x[k]);
    }
  }
#pragma unroll
  for (int i = 0; i < half_block; ++i) X[i + j * small_block] = i < j ? T(0) : x[i];
}

/// C := -A B or, if `negated`, A B, all half_block wide with leading dimension small_block.
template <class T>
void multiply_by_block(const T* A, const T* B, T* C, bool negated) {
  for (int e = threadIdx.x; e < half_block * half_block; e += threads) {
    const int i = e % half_block, j = e / half_block;
    T c(0);
    for (int k = 0; k < half_block; ++k) {
      c = minus_product(c, A[i + k * small_block], B[k + j * small_block]);
    }
    C[i + j * small_block] = negated ? -c : c;
  }
}

/// One thread block a diagonal block L = [L11 0; L21 L22]: two warps invert L11 and L22, then
/// X21 = -X22 (L21 X11). A block at the end that is narrower is continued by the identity.
template <class T>
__global__ void invert_small_blocks(MatrixView<const T> L, index_t period, MatrixView<T> X) {
  constexpr int s = small_block, h = half_block, corner = h + h * s;
  extern __shared__ char memory[];
  T* const tile = reinterpret_cast<T*>(memory);
  T* const inverse = tile + s * s;
  const index_t b = static_cast<index_t>(blockIdx.x) * s;
  const int w = static_cast<int>(L.cols - b < s ? L.cols - b : s);
  for (int e = threadIdx.x; e < s * s; e += threads) {
    const int i = e % s, j = e / s;
    tile[e] = i < w && j <= i ? L(b + i, b + j) : T(i >= w && i == j ? 1 : 0);
    if (i < h && j >= h) inverse[e] = T(0);
  }
  __syncthreads();
  const int warp = threadIdx.x / warpSize;
  if (warp < 2) invert_by_warp(tile + warp * corner, inverse + warp * corner);
  __syncthreads();
  T* const product = tile + h * s;  // above the diagonal of L
  multiply_by_block(tile + h, inverse, product, true);
  __syncthreads();
  multiply_by_block(inverse + corner, product, inverse + h, false);
  __syncthreads();
  for (int e = threadIdx.x; e < s * s; e += threads) {
    const int i = e % s, j = e / s;
    if (i < w && j < w) X(b % period + i, b + j) = inverse[e];
  }
}

template <class T>
__global__ void add_logdet(MatrixView<const T> L, double* sum) {
  __shared__ double partial[threads];
  double mine = 0;
  for (index_t i = threadIdx.x; i < L.cols; i += threads) {
    mine += std::log(static_cast<double>(real_part(L(i, i))));
  }
  partial[threadIdx.x] = mine;
  for (int half = threads / 2; half > 0; half /= 2) {
    __syncthreads();
    if (threadIdx.x < half) partial[threadIdx.x] += partial[threadIdx.x + half];
  }
  if (threadIdx.x == 0) *sum += 2 * partial[0];
}

__global__ void first_failure(const std::int32_t* infos, int count, std::int32_t* out) {
  std::int32_t first = 0;
  for (int i = 0; i < count; ++i) {
    if (infos[i] != 0 && (first == 0 || infos[i] < first)) first = infos[i];
  }
  *out = first;
}

__global__ void total(const double* sums, int count, double* out) {
  double sum = 0;
  for (int i = 0; i < count; ++i) sum += sums[i];
  *out = sum;
}

template <class R>
__global__ void round_to(const double* sum, R* rounded) {
  *rounded = static_cast<R>(*sum);
}

#define JAXMG_INSTANTIATE(T)                                                                      \
  template __global__ void note_failure(MatrixView<const T>, const int*, index_t, std::int32_t*); \
  template __global__ void invert_small_blocks(MatrixView<const T>, index_t, MatrixView<T>);      \
  template __global__ void add_logdet(MatrixView<const T>, double*);
JAXMG_INSTANTIATE(float)
JAXMG_INSTANTIATE(double)
JAXMG_INSTANTIATE(std::complex<float>)
JAXMG_INSTANTIATE(std::complex<double>)
template __global__ void round_to(const double*, float*);
template __global__ void round_to(const double*, double*);

}  // namespace jaxmg::cuda
