// Scaling by powers of two: plain loops.
#include <algorithm>
#include <cmath>

#include "device/cpu/backend.hpp"
#include "device/cpu/sanitizer.hpp"

namespace jaxmg::cpu {
namespace {

/// std::max that keeps a NaN.
double larger(double a, double b) { return a >= b || std::isnan(a) ? a : b; }

/// The exponent e of x = m 2^e, m in [0.5, 1), for the largest x.
int exponent_of_largest(const double* largest, int count) {
  double x = 0;
  for (int i = 0; i < count; ++i) x = larger(x, largest[i]);
  int exponent = 0;
  if (std::isfinite(x)) std::frexp(x, &exponent);
  return exponent;
}

template <Scalar T>
void multiply(MatrixView<T> A, int exponent) {
  declare_write(A);
  if (exponent == 0) return;
  for (index_t j = 0; j < A.cols; ++j) {
    for (index_t i = 0; i < A.rows; ++i) {
      T& entry = A(i, j);
      if constexpr (is_complex_v<T>) {
        entry = {std::ldexp(entry.real(), exponent), std::ldexp(entry.imag(), exponent)};
      } else {
        entry = std::ldexp(entry, exponent);
      }
    }
  }
}

}  // namespace

template <class T>
void Backend::largest_part(Queue& queue, MatrixView<const T> A, double* largest) {
  queue.enqueue([=] {
    declare_read(A);
    declare_write(largest, 1);
    double x = 0;
    for (index_t j = 0; j < A.cols; ++j) {
      for (index_t i = 0; i < A.rows; ++i) {
        x = larger(x, std::abs(static_cast<double>(std::real(A(i, j)))));
        x = larger(x, std::abs(static_cast<double>(std::imag(A(i, j)))));
      }
    }
    *largest = x;
  });
}

template <class T>
void Backend::scale_to_one(Queue& queue, const double* largest, int count, MatrixView<T> A) {
  queue.enqueue([=] {
    declare_read(largest, count);
    multiply(A, -exponent_of_largest(largest, count));
  });
}

template <class T>
void Backend::scale_from_one(Queue& queue, const double* largest, int count, MatrixView<T> A) {
  queue.enqueue([=] {
    declare_read(largest, count);
    multiply(A, exponent_of_largest(largest, count));
  });
}

#define JAXMG_INSTANTIATE(T)                                                 \
  template void Backend::largest_part(Queue&, MatrixView<const T>, double*); \
  template void Backend::scale_to_one(Queue&, const double*, int, MatrixView<T>);
JAXMG_INSTANTIATE(float)
JAXMG_INSTANTIATE(double)
JAXMG_INSTANTIATE(std::complex<float>)
JAXMG_INSTANTIATE(std::complex<double>)
template void Backend::scale_from_one(Queue&, const double*, int, MatrixView<float>);
template void Backend::scale_from_one(Queue&, const double*, int, MatrixView<double>);

}  // namespace jaxmg::cpu
