// Small dense matrices on the host, for tests: products in double precision, norms.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>

#include "testing/matrices.hpp"
#include "testing/residuals.hpp"

namespace jaxmg::testing {

using namespace jaxmg_testing;

template <jaxmg::Scalar T>
HostMatrix<wide_t<T>> widened(const HostMatrix<T>& A) {
  HostMatrix<wide_t<T>> wide(A.rows(), A.cols());
  std::transform(A.values().begin(), A.values().end(), wide.view().data,
                 [](const T& entry) { return wide_t<T>(entry); });
  return wide;
}

template <class W>
HostMatrix<W> conj_transposed(const HostMatrix<W>& A) {
  HostMatrix<W> result(A.cols(), A.rows());
  for (index_t j = 0; j < A.cols(); ++j) {
    for (index_t i = 0; i < A.rows(); ++i) result(j, i) = conjugate(A(i, j));
  }
  return result;
}

/// C - A B
template <class W>
HostMatrix<W> minus_product(HostMatrix<W> C, const HostMatrix<W>& A, const HostMatrix<W>& B) {
  for (index_t j = 0; j < C.cols(); ++j) {
    for (index_t k = 0; k < A.cols(); ++k) {
      const W factor = B(k, j);
      for (index_t i = 0; i < C.rows(); ++i) C(i, j) -= A(i, k) * factor;
    }
  }
  return C;
}

template <class W>
HostMatrix<W> negative_product(const HostMatrix<W>& A, const HostMatrix<W>& B) {
  return minus_product(HostMatrix<W>(A.rows(), B.cols()), A, B);
}

template <class W>
HostMatrix<W> identity(index_t n) {
  HostMatrix<W> I(n, n);
  for (index_t i = 0; i < n; ++i) I(i, i) = W(1);
  return I;
}

/// What no operation may expect anything of.
template <jaxmg::Scalar T>
HostMatrix<T> filled_with_nan(index_t rows, index_t cols) {
  HostMatrix<T> A(rows, cols);
  std::fill_n(A.view().data, A.values().size(), quiet_nan<T>());
  return A;
}

/// ||A||_1; NaN if there is one.
template <jaxmg::Scalar T>
double norm1(const HostMatrix<T>& A) {
  double largest = 0;
  for (index_t j = 0; j < A.cols(); ++j) {
    double sum = 0;
    for (index_t i = 0; i < A.rows(); ++i) sum += std::abs(A(i, j));
    largest = sum > largest || std::isnan(sum) ? sum : largest;
    if (std::isnan(largest)) break;
  }
  return largest;
}

template <jaxmg::Scalar T>
double scaled(double error, index_t n, double norm) {
  if (error == 0) return 0;
  return error / (static_cast<double>(n) * std::numeric_limits<real_t<T>>::epsilon() * norm);
}

}  // namespace jaxmg::testing
