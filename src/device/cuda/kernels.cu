#include <limits>

#include <cuComplex.h>

#include "device/cuda/check.hpp"
#include "device/cuda/kernels.hpp"

namespace jaxmg::cuda {
namespace {

// std::complex's operators are host functions: kernels work on these instead.
template <class T>
struct DeviceType {
  using type = T;
};
template <>
struct DeviceType<std::complex<float>> {
  using type = cuComplex;
};
template <>
struct DeviceType<std::complex<double>> {
  using type = cuDoubleComplex;
};
template <class T>
using device_t = typename DeviceType<std::remove_const_t<T>>::type;

__device__ float conj_of(float x) { return x; }
__device__ double conj_of(double x) { return x; }
__device__ cuComplex conj_of(cuComplex x) { return cuConjf(x); }
__device__ cuDoubleComplex conj_of(cuDoubleComplex x) { return cuConj(x); }

__device__ float real_of(float x) { return x; }
__device__ double real_of(double x) { return x; }
__device__ float real_of(cuComplex x) { return x.x; }
__device__ double real_of(cuDoubleComplex x) { return x.x; }

template <class R>
__device__ void set_real(R& x, R value) {
  x = value;
}
__device__ void set_real(cuComplex& x, float value) { x = make_cuComplex(value, 0); }
__device__ void set_real(cuDoubleComplex& x, double value) { x = make_cuDoubleComplex(value, 0); }

__device__ float plus(float a, float b) { return a + b; }
__device__ double plus(double a, double b) { return a + b; }
__device__ cuComplex plus(cuComplex a, cuComplex b) { return cuCaddf(a, b); }
__device__ cuDoubleComplex plus(cuDoubleComplex a, cuDoubleComplex b) { return cuCadd(a, b); }

__device__ float minus(float x) { return -x; }
__device__ double minus(double x) { return -x; }
__device__ cuComplex minus(cuComplex x) { return make_cuComplex(-x.x, -x.y); }
__device__ cuDoubleComplex minus(cuDoubleComplex x) { return make_cuDoubleComplex(-x.x, -x.y); }

/// c - a b.
__device__ float minus_product(float c, float a, float b) { return fmaf(-a, b, c); }
__device__ double minus_product(double c, double a, double b) { return fma(-a, b, c); }
__device__ cuComplex minus_product(cuComplex c, cuComplex a, cuComplex b) {
  return make_cuComplex(fmaf(a.y, b.y, fmaf(-a.x, b.x, c.x)),
                        fmaf(-a.y, b.x, fmaf(-a.x, b.y, c.y)));
}
__device__ cuDoubleComplex minus_product(cuDoubleComplex c, cuDoubleComplex a, cuDoubleComplex b) {
  return make_cuDoubleComplex(fma(a.y, b.y, fma(-a.x, b.x, c.x)),
                              fma(-a.y, b.x, fma(-a.x, b.y, c.y)));
}

/// x / r for real r: a factor's diagonal is real.
__device__ float over(float x, float r) { return x / r; }
__device__ double over(double x, double r) { return x / r; }
__device__ cuComplex over(cuComplex x, float r) { return make_cuComplex(x.x / r, x.y / r); }
__device__ cuDoubleComplex over(cuDoubleComplex x, double r) {
  return make_cuDoubleComplex(x.x / r, x.y / r);
}

template <class D>
struct Window {
  D* data;
  index_t rows, cols, ld;
  __device__ D& operator()(index_t i, index_t j) const { return data[i + j * ld]; }
};

template <class T>
auto window(MatrixView<T> view) {
  using D = device_t<T>;
  using Q = std::conditional_t<std::is_const_v<T>, const D, D>;
  return Window<Q>{reinterpret_cast<Q*>(view.data), view.rows, view.cols, view.ld};
}

constexpr int threads = 256;
constexpr int spoiling_blocks = 128;

/// Enough blocks for one thread an element, within what fills any GPU.
template <class T>
unsigned blocks_for(MatrixView<T> view) {
  const index_t wanted = (view.rows * view.cols + threads - 1) / threads;
  return static_cast<unsigned>(wanted < 4096 ? (wanted < 1 ? 1 : wanted) : 4096);
}

template <class F>
__global__ void for_each_kernel(index_t rows, index_t cols, F f) {
  const index_t step = static_cast<index_t>(gridDim.x) * blockDim.x;
  for (index_t e = static_cast<index_t>(blockIdx.x) * blockDim.x + threadIdx.x; e < rows * cols;
       e += step) {
    f(e % rows, e / rows);
  }
}

/// f(i, j) for all elements of `view`.
template <class T, class F>
void for_each(cudaStream_t stream, MatrixView<T> view, F f) {
  if (view.empty()) return;
  for_each_kernel<<<blocks_for(view), threads, 0, stream>>>(view.rows, view.cols, f);
  JAXMG_CUDA(cudaGetLastError());
}

}  // namespace

template <class T>
void launch_add(cudaStream_t stream, MatrixView<const T> src, MatrixView<T> dst) {
  const auto s = window(src);
  const auto d = window(dst);
  for_each(stream, dst, [=] __device__(index_t i, index_t j) { d(i, j) = plus(d(i, j), s(i, j)); });
}

template <class T>
void launch_fill(cudaStream_t stream, T value, MatrixView<T> dst) {
  const auto d = window(dst);
  const auto v = *reinterpret_cast<const device_t<T>*>(&value);
  for_each(stream, dst, [=] __device__(index_t i, index_t j) { d(i, j) = v; });
}

template <class T>
void launch_copy_lower(cudaStream_t stream, MatrixView<const T> src, MatrixView<T> dst) {
  const auto s = window(src);
  const auto d = window(dst);
  for_each(stream, dst,
           [=] __device__(index_t i, index_t j) { d(i, j) = i < j ? device_t<T>{} : s(i, j); });
}

template <class T>
void launch_zero_above(cudaStream_t stream, index_t width, MatrixView<T> X) {
  const auto x = window(X.row_range(0, width < X.rows ? width : X.rows));
  for_each(stream, X.row_range(0, x.rows), [=] __device__(index_t i, index_t j) {
    if (i < j % width) x(i, j) = device_t<T>{};
  });
}

template <class T>
void launch_conjugate(cudaStream_t stream, MatrixView<T> view) {
  const auto x = window(view);
  for_each(stream, view, [=] __device__(index_t i, index_t j) { x(i, j) = conj_of(x(i, j)); });
}

namespace {

constexpr int transposed_tile = 32, transposed_rows = 8;

/// dst := src^H by way of shared memory, so that both sides are read and written along columns.
template <class D>
__global__ void conj_transpose_kernel(Window<const D> src, Window<D> dst) {
  __shared__ D tile[transposed_tile][transposed_tile + 1];
  const index_t tiles_down = (dst.rows + transposed_tile - 1) / transposed_tile;
  const index_t tiles = tiles_down * ((dst.cols + transposed_tile - 1) / transposed_tile);
  const int x = threadIdx.x, y = threadIdx.y;
  for (index_t t = blockIdx.x; t < tiles; t += gridDim.x) {
    const index_t i = t % tiles_down * transposed_tile, j = t / tiles_down * transposed_tile;
    for (int r = y; r < transposed_tile; r += transposed_rows) {
      if (j + x < dst.cols && i + r < dst.rows) tile[r][x] = src(j + x, i + r);
    }
    __syncthreads();
    for (int r = y; r < transposed_tile; r += transposed_rows) {
      if (i + x < dst.rows && j + r < dst.cols) dst(i + x, j + r) = conj_of(tile[x][r]);
    }
    __syncthreads();
  }
}

}  // namespace

template <class T>
void launch_conj_transpose(cudaStream_t stream, MatrixView<const T> src, MatrixView<T> dst) {
  if (dst.empty()) return;
  const index_t tiles = ((dst.rows + transposed_tile - 1) / transposed_tile) *
                        ((dst.cols + transposed_tile - 1) / transposed_tile);
  const dim3 block(transposed_tile, transposed_rows);
  conj_transpose_kernel<device_t<T>>
      <<<static_cast<unsigned>(tiles < 8192 ? tiles : 8192), block, 0, stream>>>(window(src),
                                                                                 window(dst));
  JAXMG_CUDA(cudaGetLastError());
}

template <class T>
void launch_make_hermitian(cudaStream_t stream, MatrixView<T> A) {
  const auto a = window(A);
  for_each(stream, A, [=] __device__(index_t i, index_t j) {
    if (i < j) a(i, j) = conj_of(a(j, i));
    if (i == j) set_real(a(i, j), real_of(a(i, j)));
  });
}

template <class T>
void launch_fill_nan_if(cudaStream_t stream, const std::int32_t* info, MatrixView<T> dst) {
  const auto d = window(dst);
  const real_t<T> nan = std::numeric_limits<real_t<T>>::quiet_NaN();
  for_each(stream, dst, [=] __device__(index_t i, index_t j) {
    if (*info != 0) set_real(d(i, j), nan);
  });
}

namespace {

template <class D>
__global__ void note_failure_kernel(Window<const D> factor, const int* failed, index_t first_row,
                                    std::int32_t* info) {
  __shared__ int first;
  if (threadIdx.x == 0) first = *failed > 0 ? *failed : static_cast<int>(factor.cols) + 1;
  __syncthreads();
  for (index_t i = threadIdx.x; i < factor.cols; i += blockDim.x) {
    const auto diagonal = real_of(factor(i, i));
    if (!(isfinite(diagonal) && diagonal > 0)) atomicMin(&first, static_cast<int>(i) + 1);
  }
  __syncthreads();
  if (threadIdx.x == 0 && first <= factor.cols && *info == 0) {
    *info = static_cast<std::int32_t>(first_row) + first;
  }
}

constexpr int half_block = small_block / 2;
constexpr int inversion_threads = 256;

/// X := T^-1 for the lower triangular T, both half_block wide with leading dimension small_block,
/// by one warp, a column a lane: x_k is subtracted at once from all rows below, so that these
/// products do not wait for each other.
template <class D>
__device__ void invert_by_warp(const D* T, D* X) {
  const int j = threadIdx.x % half_block;
  D x[half_block];
#pragma unroll
  for (int i = 0; i < half_block; ++i) {
    x[i] = D{};
    if (i == j) set_real(x[i], static_cast<decltype(real_of(x[i]))>(1));
  }
#pragma unroll
  for (int k = 0; k < half_block; ++k) {
    x[k] = over(x[k], real_of(T[k + k * small_block]));
#pragma unroll
    for (int i = k + 1; i < half_block; ++i) {
      x[i] = minus_product(x[i], T[i + k * small_block], x[k]);
    }
  }
#pragma unroll
  for (int i = 0; i < half_block; ++i) X[i + j * small_block] = i < j ? D{} : x[i];
}

/// C := -A B or, if `negated`, A B, all half_block wide with leading dimension small_block.
template <class D>
__device__ void multiply_by_block(const D* A, const D* B, D* C, bool negated) {
  for (int e = threadIdx.x; e < half_block * half_block; e += inversion_threads) {
    const int i = e % half_block, j = e / half_block;
    D c{};
    for (int k = 0; k < half_block; ++k) {
      c = minus_product(c, A[i + k * small_block], B[k + j * small_block]);
    }
    C[i + j * small_block] = negated ? minus(c) : c;
  }
}

/// One thread block a diagonal block L = [L11 0; L21 L22]: two warps invert L11 and L22, then
/// X21 = -X22 (L21 X11). A block at the end that is narrower is continued by the identity.
template <class D>
__global__ void invert_small_blocks_kernel(Window<const D> L, index_t period, Window<D> X) {
  constexpr int s = small_block, h = half_block, corner = h + h * s;
  extern __shared__ char memory[];
  D* const tile = reinterpret_cast<D*>(memory);
  D* const inverse = tile + s * s;
  const index_t b = static_cast<index_t>(blockIdx.x) * s;
  const int w = static_cast<int>(L.cols - b < s ? L.cols - b : s);
  for (int e = threadIdx.x; e < s * s; e += inversion_threads) {
    const int i = e % s, j = e / s;
    D value{};
    if (i < w && j <= i) value = L(b + i, b + j);
    if (i >= w && i == j) set_real(value, static_cast<decltype(real_of(value))>(1));
    tile[e] = value;
    if (i < h && j >= h) inverse[e] = D{};
  }
  __syncthreads();
  const int warp = threadIdx.x / warpSize;
  if (warp < 2) invert_by_warp(tile + warp * corner, inverse + warp * corner);
  __syncthreads();
  D* const product = tile + h * s;  // above the diagonal of L
  multiply_by_block(tile + h, inverse, product, true);
  __syncthreads();
  multiply_by_block(inverse + corner, product, inverse + h, false);
  __syncthreads();
  for (int e = threadIdx.x; e < s * s; e += inversion_threads) {
    const int i = e % s, j = e / s;
    if (i < w && j < w) X(b % period + i, b + j) = inverse[e];
  }
}

template <class D>
__global__ void add_logdet_kernel(Window<const D> L, double* sum) {
  __shared__ double partial[threads];
  double mine = 0;
  for (index_t i = threadIdx.x; i < L.cols; i += threads) {
    mine += log(static_cast<double>(real_of(L(i, i))));
  }
  partial[threadIdx.x] = mine;
  for (int half = threads / 2; half > 0; half /= 2) {
    __syncthreads();
    if (threadIdx.x < half) partial[threadIdx.x] += partial[threadIdx.x + half];
  }
  if (threadIdx.x == 0) *sum += 2 * partial[0];
}

__global__ void first_failure_kernel(const std::int32_t* infos, int count, std::int32_t* out) {
  std::int32_t first = 0;
  for (int i = 0; i < count; ++i) {
    if (infos[i] != 0 && (first == 0 || infos[i] < first)) first = infos[i];
  }
  *out = first;
}

__global__ void total_kernel(const double* sums, int count, double* out) {
  double sum = 0;
  for (int i = 0; i < count; ++i) sum += sums[i];
  *out = sum;
}

template <class R>
__global__ void round_kernel(const double* sum, R* rounded) {
  *rounded = static_cast<R>(*sum);
}

__global__ void spoil_unless_equal_kernel(Pair pair, std::int32_t first, std::int32_t second,
                                          Regions regions) {
  if (*pair.first == first && *pair.second == second) return;
  const index_t step = static_cast<index_t>(gridDim.x) * blockDim.x;
  for (const Region& region : regions.of) {
    for (index_t i = static_cast<index_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < region.words;
         i += step) {
      region.data[i] = -1;
    }
  }
}

__device__ unsigned long long nanoseconds() {
  unsigned long long now = 0;
  asm volatile("mov.u64 %0, %globaltimer;" : "=l"(now));
  return now;
}

__global__ void spin_kernel(unsigned long long duration) {
  const unsigned long long begin = nanoseconds();
  while (nanoseconds() - begin < duration) __nanosleep(1000);
}

__global__ void trap_kernel() { asm("trap;"); }

}  // namespace

template <class T>
void launch_note_failure(cudaStream_t stream, MatrixView<const T> factor, const int* failed,
                         index_t first_row, std::int32_t* info) {
  note_failure_kernel<<<1, threads, 0, stream>>>(window(factor), failed, first_row, info);
  JAXMG_CUDA(cudaGetLastError());
}

template <class T>
void launch_invert_small_blocks(cudaStream_t stream, MatrixView<const T> L, index_t period,
                                MatrixView<T> X) {
  if (L.cols == 0) return;
  using D = device_t<T>;
  constexpr auto bytes = static_cast<int>(2 * small_block * small_block * sizeof(D));
  if constexpr (bytes > 48 * 1024) {
    JAXMG_CUDA(cudaFuncSetAttribute(invert_small_blocks_kernel<D>,
                                    cudaFuncAttributeMaxDynamicSharedMemorySize, bytes));
  }
  const auto blocks = static_cast<unsigned>((L.cols + small_block - 1) / small_block);
  invert_small_blocks_kernel<D>
      <<<blocks, inversion_threads, bytes, stream>>>(window(L), period, window(X));
  JAXMG_CUDA(cudaGetLastError());
}

template <class T>
void launch_add_logdet(cudaStream_t stream, MatrixView<const T> L, double* sum) {
  add_logdet_kernel<<<1, threads, 0, stream>>>(window(L), sum);
  JAXMG_CUDA(cudaGetLastError());
}

void launch_first_failure(cudaStream_t stream, const std::int32_t* infos, int count,
                          std::int32_t* out) {
  first_failure_kernel<<<1, 1, 0, stream>>>(infos, count, out);
  JAXMG_CUDA(cudaGetLastError());
}

void launch_total(cudaStream_t stream, const double* sums, int count, double* out) {
  total_kernel<<<1, 1, 0, stream>>>(sums, count, out);
  JAXMG_CUDA(cudaGetLastError());
}

template <class R>
void launch_round(cudaStream_t stream, const double* sum, R* rounded) {
  round_kernel<<<1, 1, 0, stream>>>(sum, rounded);
  JAXMG_CUDA(cudaGetLastError());
}

void launch_spoil_unless_equal(cudaStream_t stream, Pair pair, std::int32_t first,
                               std::int32_t second, const Regions& regions) {
  spoil_unless_equal_kernel<<<spoiling_blocks, threads, 0, stream>>>(pair, first, second, regions);
  JAXMG_CUDA(cudaGetLastError());
}

void launch_spin(cudaStream_t stream, unsigned microseconds) {
  spin_kernel<<<1, 1, 0, stream>>>(1000ULL * microseconds);
  JAXMG_CUDA(cudaGetLastError());
}

void launch_trap(cudaStream_t stream) {
  trap_kernel<<<1, 1, 0, stream>>>();
  JAXMG_CUDA(cudaGetLastError());
}

#define JAXMG_INSTANTIATE(T)                                                                \
  template void launch_add(cudaStream_t, MatrixView<const T>, MatrixView<T>);               \
  template void launch_fill(cudaStream_t, T, MatrixView<T>);                                \
  template void launch_copy_lower(cudaStream_t, MatrixView<const T>, MatrixView<T>);        \
  template void launch_conjugate(cudaStream_t, MatrixView<T>);                              \
  template void launch_conj_transpose(cudaStream_t, MatrixView<const T>, MatrixView<T>);    \
  template void launch_make_hermitian(cudaStream_t, MatrixView<T>);                         \
  template void launch_fill_nan_if(cudaStream_t, const std::int32_t*, MatrixView<T>);       \
  template void launch_note_failure(cudaStream_t, MatrixView<const T>, const int*, index_t, \
                                    std::int32_t*);                                         \
  template void launch_invert_small_blocks(cudaStream_t, MatrixView<const T>, index_t,      \
                                           MatrixView<T>);                                  \
  template void launch_zero_above(cudaStream_t, index_t, MatrixView<T>);                    \
  template void launch_add_logdet(cudaStream_t, MatrixView<const T>, double*);
JAXMG_INSTANTIATE(float)
JAXMG_INSTANTIATE(double)
JAXMG_INSTANTIATE(std::complex<float>)
JAXMG_INSTANTIATE(std::complex<double>)
template void launch_fill(cudaStream_t, std::int32_t, MatrixView<std::int32_t>);
template void launch_round(cudaStream_t, const double*, float*);
template void launch_round(cudaStream_t, const double*, double*);

}  // namespace jaxmg::cuda
