// Matrices that are functions of their indices: any device makes any part of them, and a residual
// needs no copy. They and products with them are made in kernels.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <type_traits>
#include <vector>

#include <cuda/std/complex>
#include <library_types.h>

#include "baselines.hpp"
#include "device.cuh"

namespace jaxmg_baselines {

/// What products are added up in.
using Wide = cuda::std::complex<double>;

template <class T>
struct Traits {
  using Real = T;
  static constexpr bool is_complex = false;
  static constexpr cudaDataType data_type = std::is_same_v<T, float> ? CUDA_R_32F : CUDA_R_64F;
};

template <class R>
struct Traits<cuda::std::complex<R>> {
  using Real = R;
  static constexpr bool is_complex = true;
  static constexpr cudaDataType data_type = std::is_same_v<R, float> ? CUDA_C_32F : CUDA_C_64F;
};

/// Operations, complex ones as four.
template <class T>
double operations(double count) {
  return Traits<T>::is_complex ? 4 * count : count;
}

/// `f.template operator()<T>()` with the scalar type of `dtype`.
template <class F>
auto visit(DType dtype, const F& f) {
  switch (dtype) {
    case DType::float32:
      return f.template operator()<float>();
    case DType::float64:
      return f.template operator()<double>();
    case DType::complex64:
      return f.template operator()<cuda::std::complex<float>>();
    case DType::complex128:
      break;
  }
  return f.template operator()<cuda::std::complex<double>>();
}

template <class T>
__host__ __device__ T make_scalar(double re, double im) {
  using Real = typename Traits<T>::Real;
  if constexpr (Traits<T>::is_complex) {
    return T(static_cast<Real>(re), static_cast<Real>(im));
  } else {
    return static_cast<T>(re);
  }
}

template <class T>
__host__ __device__ Wide widen(T value) {
  if constexpr (Traits<T>::is_complex) {
    return Wide(static_cast<double>(value.real()), static_cast<double>(value.imag()));
  } else {
    return Wide(static_cast<double>(value), 0);
  }
}

/// From -0.5 to 0.5, another for each (i, j) below 2^32 and each seed: SplitMix64 of the three.
__host__ __device__ inline double uniform(std::int64_t i, std::int64_t j, std::uint64_t seed) {
  std::uint64_t z = (static_cast<std::uint64_t>(i) << 32 | static_cast<std::uint64_t>(j)) +
                    (seed + 1) * 0x9e3779b97f4a7c15u;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  z ^= z >> 31;
  return static_cast<double>(z >> 11) * 0x1p-53 - 0.5;
}

template <class T>
struct Random {
  std::uint64_t seed;

  __host__ __device__ T operator()(std::int64_t i, std::int64_t j) const {
    return make_scalar<T>(uniform(i, j, 2 * seed), uniform(i, j, 2 * seed + 1));
  }
};

/// Hermitian, n on the diagonal, |Re| and |Im| of the rest below 0.5: the eigenvalues are within
/// sqrt(n) of n, and no entry is 0.
template <class T>
struct PositiveDefinite {
  std::int64_t n;

  __host__ __device__ T operator()(std::int64_t i, std::int64_t j) const {
    if (i == j) return make_scalar<T>(static_cast<double>(n), 0);
    const std::int64_t row = i > j ? i : j;
    const std::int64_t column = i > j ? j : i;
    const double im = uniform(row, column, 1);
    return make_scalar<T>(uniform(row, column, 0), i > j ? im : -im);
  }
};

/// Column-major memory.
template <class T>
struct Stored {
  const T* data;
  std::int64_t ld;

  __device__ T operator()(std::int64_t i, std::int64_t j) const { return data[j * ld + i]; }
};

/// Which columns of a matrix are on a device: tiles of columns, dealt in turn.
struct Columns {
  std::int64_t tile;
  std::int64_t devices;
  std::int64_t device;

  __host__ __device__ std::int64_t global(std::int64_t local) const {
    return (local / tile * devices + device) * tile + local % tile;
  }
};

/// A block a column, local columns beyond the matrix are left as they are.
template <class T, class Entry>
__global__ void fill_kernel(T* out, std::int64_t n, std::int64_t local_columns, Columns columns,
                            Entry entry) {
  for (std::int64_t local = blockIdx.x; local < local_columns; local += gridDim.x) {
    const std::int64_t j = columns.global(local);
    if (j >= n) continue;
    for (std::int64_t i = threadIdx.x; i < n; i += blockDim.x) out[local * n + i] = entry(i, j);
  }
}

/// Fills the first `local_columns` columns of n rows; all of a square matrix if `columns` is left
/// out.
template <class T, class Entry>
void fill(int device, T* out, std::int64_t n, std::int64_t local_columns, const Entry& entry,
          Columns columns = {1, 1, 0}) {
  select(device);
  fill_kernel<<<4096, 256>>>(out, n, local_columns, columns, entry);
  BASELINES_CUDA(cudaGetLastError());
}

constexpr int row_threads = 256;

/// y = A x and the sums of |a_ij| over each row; a block a row.
template <class Entry>
__global__ void multiply_kernel(Entry a, std::int64_t columns, const Wide* x, Wide* y,
                                double* row_sums) {
  __shared__ double partial[3][row_threads];
  const std::int64_t i = blockIdx.x;
  double re = 0, im = 0, sum = 0;
  for (std::int64_t j = threadIdx.x; j < columns; j += row_threads) {
    const Wide a_ij = widen(a(i, j));
    const Wide x_j = x[j];
    re += a_ij.real() * x_j.real() - a_ij.imag() * x_j.imag();
    im += a_ij.real() * x_j.imag() + a_ij.imag() * x_j.real();
    sum += hypot(a_ij.real(), a_ij.imag());
  }
  partial[0][threadIdx.x] = re;
  partial[1][threadIdx.x] = im;
  partial[2][threadIdx.x] = sum;
  for (int half = row_threads / 2; half > 0; half /= 2) {
    __syncthreads();
    if (threadIdx.x < half) {
      for (auto& part : partial) part[threadIdx.x] += part[threadIdx.x + half];
    }
  }
  if (threadIdx.x == 0) {
    y[i] = Wide(partial[0][0], partial[1][0]);
    row_sums[i] = partial[2][0];
  }
}

/// The largest of them; NaN if there is one.
inline double largest(const std::vector<double>& values) {
  double most = 0;
  for (const double value : values) most = value > most || std::isnan(value) ? value : most;
  return most;
}

inline double norm(const std::vector<Wide>& x) {
  std::vector<double> sizes;
  for (const Wide& value : x) sizes.push_back(std::hypot(value.real(), value.imag()));
  return largest(sizes);
}

inline std::vector<Wide> difference(const std::vector<Wide>& x, const std::vector<Wide>& y) {
  std::vector<Wide> result;
  for (std::size_t i = 0; i < x.size(); ++i) {
    result.emplace_back(x[i].real() - y[i].real(), x[i].imag() - y[i].imag());
  }
  return result;
}

struct Product {
  std::vector<Wide> y;
  double norm = 0;  ///< the infinity norm of the matrix
};

/// A x for an n x n matrix, worked out on `device` in double precision.
template <class Entry>
Product multiply(int device, const Entry& a, const std::vector<Wide>& x) {
  const auto n = static_cast<std::int64_t>(x.size());
  const Buffer<Wide> of_x(device, n), of_y(device, n);
  const Buffer<double> sums(device, n);
  BASELINES_CUDA(cudaMemcpy(of_x.data(), x.data(), x.size() * sizeof(Wide), cudaMemcpyDefault));
  multiply_kernel<<<static_cast<unsigned>(n), row_threads>>>(a, n, of_x.data(), of_y.data(),
                                                             sums.data());
  BASELINES_CUDA(cudaGetLastError());
  return {of_y.to_host(), largest(sums.to_host())};
}

template <class T>
double epsilon() {
  return static_cast<double>(std::numeric_limits<typename Traits<T>::Real>::epsilon());
}

/// The vector of a random column, as the devices have it.
template <class T>
std::vector<Wide> random_vector(std::int64_t n, std::uint64_t seed) {
  std::vector<Wide> x;
  for (std::int64_t i = 0; i < n; ++i) x.push_back(widen(Random<T>{seed}(i, 0)));
  return x;
}

/// ||b - A x|| / (n eps ||A|| ||x||), infinity norms.
template <class T>
double solve_residual(int device, const PositiveDefinite<T>& a, const std::vector<Wide>& b,
                      const std::vector<T>& solution) {
  std::vector<Wide> x;
  for (const T& value : solution) x.push_back(widen(value));
  const Product product = multiply(device, a, x);
  const double scale = static_cast<double>(a.n) * epsilon<T>() * product.norm * norm(x);
  return norm(difference(b, product.y)) / scale;
}

}  // namespace jaxmg_baselines
