// LAPACK's scaled residuals, without a BLAS.
//
// eps is std::numeric_limits::epsilon() of the real type (2^-52, 2^-23), the spacing of numbers at
// 1 and twice LAPACK's and the textbooks' unit roundoff: residuals here are half of theirs. Sums
// are accumulated in double precision whatever the type. Costs are in real multiply-adds, times 4
// for complex. A NaN anywhere gives NaN, which no `residual < bound` accepts.
#pragma once

#include "testing/host_matrix.hpp"

namespace jaxmg_testing {

/// ||A||_1, the largest sum of a column's moduli.
template <Scalar T>
double one_norm(const HostMatrix<T>& A);

/// ||A - L L^H||_1 / (n eps ||A||_1): n^3 / 6. Both n x n; A Hermitian, its lower triangle is read;
/// L lower triangular, with zeros above the diagonal.
template <Scalar T>
double factor_residual(const HostMatrix<T>& A, const HostMatrix<T>& L);

/// max_j ||b_j - A x_j||_1 / (n eps ||A||_1 ||x_j||_1) over the columns, never less than the
/// quotient of the whole matrices' norms: n^2 k. A is read whole. 0 if there is no column.
template <Scalar T>
double solve_residual(const HostMatrix<T>& A, const HostMatrix<T>& X, const HostMatrix<T>& B);

/// ||I - A X||_1 / (n eps ||A||_1 ||X||_1): n^3. Both n x n, read whole.
template <Scalar T>
double inverse_residual(const HostMatrix<T>& A, const HostMatrix<T>& X);

/// ||A V - V diag(w)||_1 / (n eps ||A||_1): n^3. A and V n x n, read whole, w n values.
template <Scalar T>
double eigen_residual(const HostMatrix<T>& A, const HostMatrix<T>& V,
                      const std::vector<real_t<T>>& w);

/// ||I - Q^H Q||_1 / (n eps): n^3. Q is n x k, k <= n.
template <Scalar T>
double orthogonality_residual(const HostMatrix<T>& Q);

/// ||A - Q B Q^H||_1 / (n eps ||A||_1): 2 n^3. All n x n, read whole.
template <Scalar T>
double similarity_residual(const HostMatrix<T>& A, const HostMatrix<T>& Q, const HostMatrix<T>& B);

}  // namespace jaxmg_testing
