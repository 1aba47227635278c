// Element by element.
#include <limits>

#include "device/cuda/kernels/device.cuh"
#include "device/cuda/kernels/transpose.cuh"

namespace jaxmg::cuda {

template <class T>
__global__ void add(MatrixView<const T> src, MatrixView<T> dst) {
  for_each(dst, [=](index_t i, index_t j) { dst(i, j) += src(i, j); });
}

template <class T>
__global__ void fill(T value, MatrixView<T> dst) {
  for_each(dst, [=](index_t i, index_t j) { dst(i, j) = value; });
}

template <class T>
__global__ void copy_lower(MatrixView<const T> src, MatrixView<T> dst) {
  for_each(dst, [=](index_t i, index_t j) { dst(i, j) = i < j ? T(0) : src(i, j); });
}

template <class T>
__global__ void zero_above(index_t width, MatrixView<T> X) {
  for_each(X, [=](index_t i, index_t j) {
    if (i < j % width) X(i, j) = T(0);
  });
}

template <class T>
__global__ void conjugate_elements(MatrixView<T> X) {
  for_each(X, [=](index_t i, index_t j) { X(i, j) = conjugate(X(i, j)); });
}

template <class T>
__global__ void make_hermitian(MatrixView<T> A) {
  for_each(A, [=](index_t i, index_t j) {
    if (i < j) A(i, j) = conjugate(A(j, i));
    if (i == j) A(i, j) = real_part(A(i, j));
  });
}

template <class T>
__global__ void fill_nan_if(const std::int32_t* info, MatrixView<T> dst) {
  for_each(dst, [=](index_t i, index_t j) {
    if (*info != 0) dst(i, j) = std::numeric_limits<real_t<T>>::quiet_NaN();
  });
}

template <class T>
__global__ void conj_transpose(MatrixView<const T> src, MatrixView<T> dst) {
  transpose(src, dst, [](T x, index_t) { return conjugate(x); });
}

#define JAXMG_INSTANTIATE(T)                                                \
  template __global__ void add(MatrixView<const T>, MatrixView<T>);         \
  template __global__ void fill(T, MatrixView<T>);                          \
  template __global__ void copy_lower(MatrixView<const T>, MatrixView<T>);  \
  template __global__ void zero_above(index_t, MatrixView<T>);              \
  template __global__ void conjugate_elements(MatrixView<T>);               \
  template __global__ void make_hermitian(MatrixView<T>);                   \
  template __global__ void fill_nan_if(const std::int32_t*, MatrixView<T>); \
  template __global__ void conj_transpose(MatrixView<const T>, MatrixView<T>);
JAXMG_INSTANTIATE(float)
JAXMG_INSTANTIATE(double)
JAXMG_INSTANTIATE(std::complex<float>)
JAXMG_INSTANTIATE(std::complex<double>)
template __global__ void fill(std::int32_t, MatrixView<std::int32_t>);

}  // namespace jaxmg::cuda
