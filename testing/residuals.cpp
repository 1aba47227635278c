#include "testing/residuals.hpp"

#include <cmath>
#include <functional>
#include <utility>

namespace jaxmg_testing {
namespace {

/// A real matrix in double precision: one part of a matrix of any type.
using Plane = HostMatrix<double>;

/// c0, c1 -= four columns of A times their coefficients: as much as fits into 16 registers.
void subtract_columns(index_t rows, const double* __restrict a, index_t lda, const double (&w0)[4],
                      const double (&w1)[4], double* __restrict c0, double* __restrict c1) {
  const double* const a1 = a + lda;
  const double* const a2 = a1 + lda;
  const double* const a3 = a2 + lda;
  for (index_t i = 0; i < rows; ++i) {
    c0[i] -= a[i] * w0[0] + a1[i] * w0[1] + a2[i] * w0[2] + a3[i] * w0[3];
    c1[i] -= a[i] * w1[0] + a1[i] * w1[1] + a2[i] * w1[2] + a3[i] * w1[3];
  }
}

/// C -= sign A B^T. Blocks of A stay in cache while all columns of C pass.
void subtract_product(double sign, MatrixView<const double> A, MatrixView<const double> B,
                      MatrixView<double> C) {
  constexpr index_t row_block = 256, inner_block = 64;
  std::vector<double> padded(static_cast<std::size_t>(4 * row_block));
  std::vector<double> spill(static_cast<std::size_t>(row_block));
  for (index_t p0 = 0; p0 < A.cols; p0 += inner_block) {
    const index_t p1 = std::min(p0 + inner_block, A.cols);
    for (index_t i = 0; i < C.rows; i += row_block) {
      const index_t rows = std::min(row_block, C.rows - i);
      for (index_t j = 0; j < C.cols; j += 2) {
        const bool pair = j + 1 < C.cols;
        for (index_t p = p0; p < p1; p += 4) {
          double w0[4] = {}, w1[4] = {};
          for (index_t q = 0; q < 4 && p + q < p1; ++q) {
            w0[q] = sign * B(j, p + q);
            if (pair) w1[q] = sign * B(j + 1, p + q);
          }
          double* const c1 = pair ? &C(i, j + 1) : spill.data();
          if (p + 4 <= p1) {
            subtract_columns(rows, &A(i, p), A.ld, w0, w1, &C(i, j), c1);
          } else {
            // The last one to three columns, padded with zeros.
            for (index_t q = 0; p + q < p1; ++q) {
              std::copy_n(&A(i, p + q), rows, &padded[static_cast<std::size_t>(q * row_block)]);
            }
            subtract_columns(rows, padded.data(), row_block, w0, w1, &C(i, j), c1);
          }
        }
      }
    }
  }
}

/// Real and imaginary part; the latter is empty for real types.
template <Scalar T>
struct Planes {
  Plane real;
  Plane imaginary;
};

template <Scalar T>
Planes<T> split(const HostMatrix<T>& A) {
  Planes<T> planes;
  planes.real = Plane(A.rows(), A.cols());
  if constexpr (jaxmg::is_complex_v<T>) planes.imaginary = Plane(A.rows(), A.cols());
  for (index_t j = 0; j < A.cols(); ++j) {
    for (index_t i = 0; i < A.rows(); ++i) {
      planes.real(i, j) = jaxmg::real_part(A(i, j));
      if constexpr (jaxmg::is_complex_v<T>) planes.imaginary(i, j) = A(i, j).imag();
    }
  }
  return planes;
}

Plane transpose(const Plane& A) {
  Plane result(A.cols(), A.rows());
  for (index_t j = 0; j < A.cols(); ++j) {
    for (index_t i = 0; i < A.rows(); ++i) result(j, i) = A(i, j);
  }
  return result;
}

template <Scalar T>
double modulus(const Planes<T>& A, index_t i, index_t j) {
  if constexpr (jaxmg::is_complex_v<T>) return std::hypot(A.real(i, j), A.imaginary(i, j));
  return std::abs(A.real(i, j));
}

/// std::max that keeps a NaN.
double larger(double a, double b) {
  if (std::isnan(a) || std::isnan(b)) return std::numeric_limits<double>::quiet_NaN();
  return std::max(a, b);
}

template <Scalar T>
double column_norm(const Planes<T>& A, index_t j) {
  double sum = 0;
  for (index_t i = 0; i < A.real.rows(); ++i) sum += modulus(A, i, j);
  return sum;
}

/// ||A||_1 of a Hermitian matrix from its lower triangle.
template <Scalar T>
double hermitian_norm(const Planes<T>& A) {
  const index_t n = A.real.cols();
  std::vector<double> sums(static_cast<std::size_t>(n));
  for (index_t j = 0; j < n; ++j) {
    for (index_t i = j; i < n; ++i) {
      const double entry = modulus(A, i, j);
      sums[static_cast<std::size_t>(j)] += entry;
      if (i != j) sums[static_cast<std::size_t>(i)] += entry;
    }
  }
  double norm = 0;
  for (const double sum : sums) norm = larger(norm, sum);
  return norm;
}

/// error / (n eps scale), and 0 for 0 / 0: the zero matrix may be solved without an error.
template <Scalar T>
double scaled(double error, index_t n, double scale) {
  if (error == 0) return 0;
  return error / (static_cast<double>(n) *
                  static_cast<double>(std::numeric_limits<real_t<T>>::epsilon()) * scale);
}

}  // namespace

template <Scalar T>
double factor_residual(const HostMatrix<T>& A, const HostMatrix<T>& L) {
  const index_t n = A.cols();
  Planes<T> R = split(A);
  const double norm = hermitian_norm(R);
  const Planes<T> factor = split(L);

  // By block columns, rows from the diagonal down; L's columns to the right of the block are zero
  // in its rows.
  constexpr index_t block = 64;
  for (index_t j = 0; j < n; j += block) {
    const index_t end = std::min(j + block, n);
    const auto below = [&](const Plane& plane) { return plane.view().block(j, 0, n - j, end); };
    const auto beside = [&](const Plane& plane) { return plane.view().block(j, 0, end - j, end); };
    const auto target = [&](Plane& plane) { return plane.view().block(j, j, n - j, end - j); };
    subtract_product(1, below(factor.real), beside(factor.real), target(R.real));
    if constexpr (jaxmg::is_complex_v<T>) {
      subtract_product(1, below(factor.imaginary), beside(factor.imaginary), target(R.real));
      subtract_product(1, below(factor.imaginary), beside(factor.real), target(R.imaginary));
      subtract_product(-1, below(factor.real), beside(factor.imaginary), target(R.imaginary));
    }
  }
  return scaled<T>(hermitian_norm(R), n, norm);
}

namespace {

/// R - A X, by real and imaginary parts.
template <Scalar T>
Planes<T> remainder(const Planes<T>& A, const Planes<T>& X, Planes<T> R) {
  const Plane real = transpose(X.real);
  subtract_product(1, A.real.view(), real.view(), R.real.view());
  if constexpr (jaxmg::is_complex_v<T>) {
    const Plane imaginary = transpose(X.imaginary);
    subtract_product(-1, A.imaginary.view(), imaginary.view(), R.real.view());
    subtract_product(1, A.real.view(), imaginary.view(), R.imaginary.view());
    subtract_product(1, A.imaginary.view(), real.view(), R.imaginary.view());
  }
  return R;
}

template <Scalar T>
HostMatrix<T> identity(index_t n) {
  HostMatrix<T> I(n, n);
  for (index_t i = 0; i < n; ++i) I(i, i) = T(1);
  return I;
}

template <Scalar T>
HostMatrix<T> conj_transposed(const HostMatrix<T>& A) {
  HostMatrix<T> result(A.cols(), A.rows());
  for (index_t j = 0; j < A.cols(); ++j) {
    for (index_t i = 0; i < A.rows(); ++i) result(j, i) = jaxmg::conjugate(A(i, j));
  }
  return result;
}

/// ||A||_1.
template <Scalar T>
double one_norm(const Planes<T>& A) {
  double norm = 0;
  for (index_t j = 0; j < A.real.cols(); ++j) norm = larger(norm, column_norm(A, j));
  return norm;
}

}  // namespace

template <Scalar T>
double solve_residual(const HostMatrix<T>& A, const HostMatrix<T>& X, const HostMatrix<T>& B) {
  const Planes<T> matrix = split(A), solution = split(X);
  const Planes<T> R = remainder(matrix, solution, split(B));
  const double norm = one_norm(matrix);
  double residual = 0;
  for (index_t j = 0; j < B.cols(); ++j) {
    residual =
        larger(residual, scaled<T>(column_norm(R, j), A.cols(), norm * column_norm(solution, j)));
  }
  return residual;
}

template <Scalar T>
double inverse_residual(const HostMatrix<T>& A, const HostMatrix<T>& X) {
  const index_t n = A.cols();
  const Planes<T> matrix = split(A), inverse = split(X);
  const Planes<T> R = remainder(matrix, inverse, split(identity<T>(n)));
  return scaled<T>(one_norm(R), n, one_norm(matrix) * one_norm(inverse));
}

template <Scalar T>
double one_norm(const HostMatrix<T>& A) {
  return one_norm(split(A));
}

template <Scalar T>
double eigen_residual(const HostMatrix<T>& A, const HostMatrix<T>& V,
                      const std::vector<real_t<T>>& w) {
  const Planes<T> matrix = split(A), vectors = split(V);
  Planes<T> scaled_vectors = vectors;
  for (index_t j = 0; j < V.cols(); ++j) {
    const double value = w[static_cast<std::size_t>(j)];
    for (index_t i = 0; i < V.rows(); ++i) {
      scaled_vectors.real(i, j) *= value;
      if constexpr (jaxmg::is_complex_v<T>) scaled_vectors.imaginary(i, j) *= value;
    }
  }
  const Planes<T> R = remainder(matrix, vectors, std::move(scaled_vectors));
  return scaled<T>(one_norm(R), A.cols(), one_norm(matrix));
}

template <Scalar T>
double orthogonality_residual(const HostMatrix<T>& Q) {
  const Planes<T> R = remainder(split(conj_transposed(Q)), split(Q), split(identity<T>(Q.cols())));
  return scaled<T>(one_norm(R), Q.rows(), 1);
}

template <Scalar T>
double similarity_residual(const HostMatrix<T>& A, const HostMatrix<T>& Q, const HostMatrix<T>& B) {
  HostMatrix<T> minus_B = B;
  std::transform(B.values().begin(), B.values().end(), minus_B.view().data, std::negate<T>());
  const Planes<T> nothing = split(HostMatrix<T>(A.rows(), A.cols()));
  const Planes<T> QB = remainder(split(Q), split(minus_B), nothing);
  const Planes<T> R = remainder(QB, split(conj_transposed(Q)), split(A));
  return scaled<T>(one_norm(R), A.cols(), one_norm(split(A)));
}

#define JAXMG_INSTANTIATE(T)                                                          \
  template double factor_residual(const HostMatrix<T>& A, const HostMatrix<T>& L);    \
  template double solve_residual(const HostMatrix<T>& A, const HostMatrix<T>& X,      \
                                 const HostMatrix<T>& B);                             \
  template double inverse_residual(const HostMatrix<T>& A, const HostMatrix<T>& X);   \
  template double one_norm(const HostMatrix<T>& A);                                   \
  template double eigen_residual(const HostMatrix<T>& A, const HostMatrix<T>& V,      \
                                 const std::vector<real_t<T>>& w);                    \
  template double orthogonality_residual(const HostMatrix<T>& Q);                     \
  template double similarity_residual(const HostMatrix<T>& A, const HostMatrix<T>& Q, \
                                      const HostMatrix<T>& B);
JAXMG_INSTANTIATE(float)
JAXMG_INSTANTIATE(double)
JAXMG_INSTANTIATE(std::complex<float>)
JAXMG_INSTANTIATE(std::complex<double>)

}  // namespace jaxmg_testing
