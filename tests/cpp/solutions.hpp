// What tests of rank programs that solve make of their ranks' results.
#pragma once

#include <cmath>
#include <cstdint>
#include <vector>

#include <gtest/gtest.h>

#include "kinds.hpp"
#include "testing/host_matrix.hpp"
#include "testing/residuals.hpp"

namespace jaxmg::testing {

using jaxmg_testing::HostMatrix;

template <Scalar T>
HostMatrix<T> transposed(const HostMatrix<T>& A) {
  HostMatrix<T> At(A.cols(), A.rows());
  for (index_t j = 0; j < A.cols(); ++j) {
    for (index_t i = 0; i < A.rows(); ++i) At(j, i) = A(i, j);
  }
  return At;
}

template <Scalar T>
struct Solved {
  std::vector<HostMatrix<T>> X;  ///< of each rank, n x rhs; or one inverse
  std::vector<std::int32_t> info;
  std::vector<real_t<T>> logdet;
};

/// Of what programs leave: solutions are rows there.
template <class Kind, Scalar T, class Infos, class Logdets>
Solved<T> solved(const std::vector<Shared<Kind, T>>& X, const Infos& info, const Logdets& logdet) {
  Solved<T> out{{}, {info.begin(), info.end()}, {logdet.begin(), logdet.end()}};
  for (const Shared<Kind, T>& rows : X) out.X.push_back(transposed(rows.host()));
  return out;
}

/// A program solves M^T x = b in storage M: M^T is what JAX's A is there.
template <Scalar T>
void expect_solutions(const HostMatrix<T>& M, const HostMatrix<T>& b, const Solved<T>& out) {
  const HostMatrix<T> A = transposed(M);
  for (std::size_t p = 0; p < out.X.size(); ++p) {
    EXPECT_EQ(out.info[p], 0);
    EXPECT_EQ(out.logdet[p], out.logdet[0]);
    EXPECT_LT(jaxmg_testing::solve_residual(A, out.X[p], b), 10);
  }
}

template <Scalar T>
void expect_nan(const HostMatrix<T>& X) {
  for (const T& x : X.values()) ASSERT_TRUE(std::isnan(real_part(x)));
}

}  // namespace jaxmg::testing
