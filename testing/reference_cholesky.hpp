// The textbook's Cholesky factorisation, as an oracle.
#pragma once

#include <cmath>
#include <cstdint>

#include "testing/host_matrix.hpp"

namespace jaxmg_testing {

/// A = L L^H column by column, unblocked, in A's own precision: n^3 / 3 flops. Reads A's lower
/// triangle and replaces it by L, with zeros above the diagonal. Returns 0, or the order of the
/// first leading minor that is not positive definite or holds a NaN; then A is half done.
template <Scalar T>
std::int32_t reference_cholesky(HostMatrix<T>& A) {
  const index_t n = A.cols();
  for (index_t j = 0; j < n; ++j) {
    for (index_t i = 0; i < j; ++i) A(i, j) = T(0);
    for (index_t k = 0; k < j; ++k) {
      const T row = jaxmg::conjugate(A(j, k));
      for (index_t i = j; i < n; ++i) A(i, j) -= A(i, k) * row;
    }
    const real_t<T> pivot = jaxmg::real_part(A(j, j));
    if (!(pivot > 0) || !std::isfinite(pivot)) return static_cast<std::int32_t>(j + 1);
    const real_t<T> diagonal = std::sqrt(pivot);
    A(j, j) = T(diagonal);
    for (index_t i = j + 1; i < n; ++i) A(i, j) /= diagonal;
  }
  return 0;
}

}  // namespace jaxmg_testing
