// What kernels share. Device code is compiled by NVRTC (see ../nvrtc/), with every function a
// device function and the standard library's names from libcu++: so std::complex, MatrixView and
// the arithmetic in src/device/*.hpp are here what they are on the host.
#pragma once

#include <cmath>

#include "jaxmg/view.hpp"

namespace jaxmg::cuda {

/// c - a b, by fused operations; of complex numbers without the checks for infinities that
/// std::complex's product makes.
template <class R>
R minus_product(R c, R a, R b) {
  return std::fma(-a, b, c);
}
template <class R>
std::complex<R> minus_product(std::complex<R> c, std::complex<R> a, std::complex<R> b) {
  return {std::fma(a.imag(), b.imag(), std::fma(-a.real(), b.real(), c.real())),
          std::fma(-a.imag(), b.real(), std::fma(-a.real(), b.imag(), c.imag()))};
}

template <class T>
T plus_product(T c, T a, T b) {
  return minus_product(c, -a, b);
}
/// a b
template <class T>
T product_of(T a, T b) {
  return plus_product(T(0), a, b);
}

/// |a|^2
inline double square_of(double a) { return a * a; }
inline double square_of(std::complex<double> a) {
  return a.real() * a.real() + a.imag() * a.imag();
}

/// f(i, j) for all elements of `view`, by all threads of a one-dimensional grid.
template <class T, class F>
void for_each(MatrixView<T> view, F f) {
  const index_t step = static_cast<index_t>(gridDim.x) * blockDim.x;
  for (index_t e = static_cast<index_t>(blockIdx.x) * blockDim.x + threadIdx.x;
       e < view.rows * view.cols; e += step) {
    f(e % view.rows, e / view.rows);
  }
}

}  // namespace jaxmg::cuda
