// The test matrices and the residuals themselves: what proves the routines has to be right first.
#include <cmath>

#include <gtest/gtest.h>

#include "dense_algebra.hpp"
#include "testing/matrices.hpp"
#include "testing/reference_cholesky.hpp"
#include "testing/residuals.hpp"

namespace {

using jaxmg::conjugate;
using jaxmg::index_t;
using jaxmg::is_complex_v;
using jaxmg::real_part;
using jaxmg::real_t;
using jaxmg::testing::norm1;
using namespace jaxmg_testing;

template <class T>
class Matrices : public ::testing::Test {};
template <class T>
class Residuals : public ::testing::Test {};
using Scalars = ::testing::Types<float, double, std::complex<float>, std::complex<double>>;
TYPED_TEST_SUITE(Matrices, Scalars);
TYPED_TEST_SUITE(Residuals, Scalars);

template <jaxmg::Scalar T>
constexpr double eps = static_cast<double>(std::numeric_limits<real_t<T>>::epsilon());

template <jaxmg::Scalar T>
double imaginary_part(const T& x) {
  if constexpr (is_complex_v<T>) return x.imag();
  return 0;
}

/// Eigenvalues, ascending, by Jacobi's method. A Hermitian matrix is taken as the real symmetric
/// [Re -Im; Im Re], which has each eigenvalue twice.
template <jaxmg::Scalar T>
std::vector<double> eigenvalues(const HostMatrix<T>& A) {
  const index_t n = A.cols(), size = is_complex_v<T> ? 2 * n : n;
  HostMatrix<double> S(size, size);
  for (index_t j = 0; j < size; ++j) {
    for (index_t i = 0; i < size; ++i) {
      const T entry = A(i % n, j % n);
      const double sign = i < n ? -1 : 1;
      S(i, j) = (i < n) == (j < n) ? real_part(entry) : sign * imaginary_part(entry);
    }
  }
  for (int sweep = 0; sweep < 12; ++sweep) {
    for (index_t p = 0; p < size; ++p) {
      for (index_t q = p + 1; q < size; ++q) {
        if (S(p, q) == 0) continue;
        const double angle = 0.5 * std::atan2(2 * S(p, q), S(q, q) - S(p, p));
        const double c = std::cos(angle), s = std::sin(angle);
        for (index_t i = 0; i < size; ++i) {
          const double a = S(i, p), b = S(i, q);
          S(i, p) = c * a - s * b;
          S(i, q) = s * a + c * b;
        }
        for (index_t i = 0; i < size; ++i) {
          const double a = S(p, i), b = S(q, i);
          S(p, i) = c * a - s * b;
          S(q, i) = s * a + c * b;
        }
      }
    }
  }
  std::vector<double> values;
  for (index_t i = 0; i < size; ++i) values.push_back(S(i, i));
  std::sort(values.begin(), values.end());
  return values;
}

TEST(MatrixKinds, HaveWords) {
  for (const Kind kind : all_kinds) {
    EXPECT_EQ(kind_from_string(to_string(kind)), kind);
    EXPECT_STRNE(description(kind), "");
  }
  try {
    kind_from_string("hilbert");
    FAIL() << "accepted";
  } catch (const std::invalid_argument& error) {
    EXPECT_STREQ(error.what(),
                 "expected one of spd, clustered, rbf_sorted, rbf_shuffled, matern_sorted, "
                 "matern_shuffled, dominant, indefinite, nan; got 'hilbert'");
  }
}

TYPED_TEST(Matrices, AreHermitianAndRepeatable) {
  using T = TypeParam;
  for (const Kind kind : all_kinds) {
    for (const index_t n : {0, 1, 3, 33}) {
      SCOPED_TRACE(std::string(to_string(kind)) + ", n = " + std::to_string(n));
      const HostMatrix<T> A = make_matrix<T>({kind, n, 100, 5}).A;
      const HostMatrix<T> again = make_matrix<T>({kind, n, 100, 5}).A;
      const HostMatrix<T> other = make_matrix<T>({kind, n, 100, 6}).A;
      bool imaginary = false, differs = false;
      for (index_t j = 0; j < n; ++j) {
        for (index_t i = 0; i < n; ++i) {
          if (std::isnan(real_part(A(i, j)))) {
            EXPECT_EQ(kind, Kind::nan);
            EXPECT_TRUE(std::isnan(real_part(A(j, i))));
            continue;
          }
          EXPECT_EQ(A(i, j), conjugate(A(j, i)));
          EXPECT_EQ(A(i, j), again(i, j));
          differs = differs || A(i, j) != other(i, j);
          imaginary = imaginary || imaginary_part(A(i, j)) != 0;
        }
        EXPECT_EQ(imaginary_part(A(j, j)), 0);
      }
      EXPECT_EQ(imaginary, is_complex_v<T> && n > 1);
      EXPECT_TRUE(differs || n < 3);
    }
  }
}

TYPED_TEST(Matrices, HaveTheirSpectrum) {
  using T = TypeParam;
  const double kappa = 1e3;
  for (const Kind kind : {Kind::spd, Kind::clustered}) {
    for (const index_t n : {1, 2, 30}) {
      SCOPED_TRACE(std::string(to_string(kind)) + ", n = " + std::to_string(n));
      const TestMatrix<T> matrix = make_matrix<T>({kind, n, kappa, 2});
      const std::vector<double> spectrum = eigenvalues(matrix.A);
      EXPECT_NEAR(spectrum.back(), 1, 10 * eps<T>);
      EXPECT_NEAR(spectrum.front(), n == 1 ? 1 : 1 / kappa, 10 * eps<T>);
      double logdet = 0;
      for (const double value : spectrum) {
        logdet += std::log(value) * static_cast<double>(n) / static_cast<double>(spectrum.size());
      }
      EXPECT_NEAR(logdet, matrix.logdet.value(), static_cast<double>(n) * kappa * eps<T>);
    }
  }
}

TYPED_TEST(Matrices, ClusteredHasTwoClusters) {
  const std::vector<double> spectrum =
      eigenvalues(make_matrix<TypeParam>({Kind::clustered, 20, 1e3, 2}).A);
  const auto high =
      std::count_if(spectrum.begin(), spectrum.end(), [](double x) { return x > 0.89; });
  const auto low =
      std::count_if(spectrum.begin(), spectrum.end(), [](double x) { return x < 1.2e-3; });
  EXPECT_EQ(high, static_cast<index_t>(spectrum.size()) / 2);
  EXPECT_EQ(low, static_cast<index_t>(spectrum.size()) / 2);
}

TYPED_TEST(Matrices, KernelsReachTheirCondition) {
  using T = TypeParam;
  for (const Kind kind :
       {Kind::rbf_sorted, Kind::rbf_shuffled, Kind::matern_sorted, Kind::matern_shuffled}) {
    SCOPED_TRACE(to_string(kind));
    const std::vector<double> spectrum = eigenvalues(make_matrix<T>({kind, 40, 1e5, 3}).A);
    const double kappa = spectrum.back() / spectrum.front();
    EXPECT_LT(kappa, 1.1e5);
    EXPECT_GT(kappa, 0.5e5);
  }
}

TYPED_TEST(Matrices, KernelsOfSortedPointsFallOffFromTheDiagonal) {
  using T = TypeParam;
  const auto falls_off = [](const HostMatrix<T>& A) {
    for (index_t i = 1; i + 1 < A.rows(); ++i) {
      // Phases have unit modulus up to rounding.
      if (std::abs(A(i + 1, 0)) > std::abs(A(i, 0)) * (1 + 4 * real_t<T>(eps<T>))) return false;
    }
    return true;
  };
  EXPECT_TRUE(falls_off(make_matrix<T>({Kind::rbf_sorted, 30, 100, 1}).A));
  EXPECT_TRUE(falls_off(make_matrix<T>({Kind::matern_sorted, 30, 100, 1}).A));
  EXPECT_FALSE(falls_off(make_matrix<T>({Kind::rbf_shuffled, 30, 100, 1}).A));
  EXPECT_FALSE(falls_off(make_matrix<T>({Kind::matern_shuffled, 30, 100, 1}).A));
}

TYPED_TEST(Matrices, DominantIsDominant) {
  const HostMatrix<TypeParam> A = make_matrix<TypeParam>({Kind::dominant, 30, 1, 1}).A;
  for (index_t j = 0; j < 30; ++j) {
    double others = 0;
    for (index_t i = 0; i < 30; ++i) others += i == j ? 0 : std::abs(A(i, j));
    EXPECT_GT(real_part(A(j, j)), others);
  }
}

TYPED_TEST(Matrices, FailWhereTheySay) {
  using T = TypeParam;
  for (const Kind kind : {Kind::indefinite, Kind::nan}) {
    for (unsigned seed = 1; seed <= 20; ++seed) {
      TestMatrix<T> matrix = make_matrix<T>({kind, 25, 1e3, seed});
      EXPECT_GT(matrix.first_failure, 0);
      EXPECT_FALSE(matrix.logdet.has_value());
      EXPECT_FALSE(is_positive_definite(kind));
      if (kind == Kind::indefinite) {
        for (index_t j = 0; j < 25; ++j) EXPECT_GT(real_part(matrix.A(j, j)), 0);
      }
      EXPECT_EQ(reference_cholesky(matrix.A), matrix.first_failure);
    }
    EXPECT_EQ(make_matrix<T>({kind, 0, 1, 1}).first_failure, 0);
    EXPECT_EQ(make_matrix<T>({kind, 1, 1, 1}).first_failure, 1);
  }
}

TYPED_TEST(Matrices, ArePositiveDefiniteUpToTheHighestCondition) {
  using T = TypeParam;
  for (const Kind kind : all_kinds) {
    if (!is_positive_definite(kind)) continue;
    SCOPED_TRACE(to_string(kind));
    const double kappa = std::min(highest_kappa(kind, jaxmg::dtype_of<T>()), 1e16);
    TestMatrix<T> matrix = make_matrix<T>({kind, 120, kappa, 1});
    EXPECT_EQ(matrix.first_failure, 0);
    EXPECT_EQ(reference_cholesky(matrix.A), 0);
  }
}

TYPED_TEST(Matrices, RefuseNonsense) {
  EXPECT_THROW(make_matrix<TypeParam>({Kind::spd, -1, 10, 1}), std::invalid_argument);
  EXPECT_THROW(make_matrix<TypeParam>({Kind::spd, 5, 0.5, 1}), std::invalid_argument);
  EXPECT_THROW(make_matrix<TypeParam>({Kind::spd, 5, std::nan(""), 1}), std::invalid_argument);
}

/// A lower triangular matrix of small integers, whose products are exact in every type.
template <jaxmg::Scalar T>
HostMatrix<T> integer_factor(index_t n) {
  HostMatrix<T> L(n, n);
  for (index_t j = 0; j < n; ++j) {
    for (index_t i = j; i < n; ++i) {
      const auto real = static_cast<real_t<T>>((3 * i + 5 * j) % 7 - 3);
      if constexpr (is_complex_v<T>) {
        L(i, j) = T(real, i == j ? 0 : static_cast<real_t<T>>((2 * i + j) % 5 - 2));
      } else {
        L(i, j) = real;
      }
    }
  }
  return L;
}

/// op(A) op(B) by the definition.
template <jaxmg::Scalar T>
HostMatrix<T> product(const HostMatrix<T>& A, const HostMatrix<T>& B, bool conjugate_right) {
  HostMatrix<T> C(A.rows(), conjugate_right ? B.rows() : B.cols());
  for (index_t j = 0; j < C.cols(); ++j) {
    for (index_t k = 0; k < A.cols(); ++k) {
      const T b = conjugate_right ? conjugate(B(j, k)) : B(k, j);
      for (index_t i = 0; i < C.rows(); ++i) C(i, j) += A(i, k) * b;
    }
  }
  return C;
}

// Orders around the blocks of the product's implementation.
constexpr index_t orders[] = {0, 1, 2, 3, 5, 63, 64, 65, 131, 300};

TYPED_TEST(Residuals, OfAFactorAreThoseOfTheDefinition) {
  using T = TypeParam;
  for (const index_t n : orders) {
    SCOPED_TRACE(n);
    const HostMatrix<T> L = integer_factor<T>(n);
    HostMatrix<T> A = product(L, L, true);
    EXPECT_EQ(factor_residual(A, L), 0);
    if (n < 2) continue;
    // Off the diagonal, a change of 2 changes two columns, each by 2.
    A(n - 1, n / 3) += T(2);
    A(n / 3, n - 1) += T(2);
    const double expected = 2 / (static_cast<double>(n) * eps<T> * norm1(A));
    EXPECT_NEAR(factor_residual(A, L), expected, 1e-6 * expected);
  }
}

TYPED_TEST(Residuals, OfASolutionAreThoseOfTheDefinition) {
  using T = TypeParam;
  for (const index_t n : orders) {
    for (const index_t k : {0, 1, 2, 7}) {
      SCOPED_TRACE(std::to_string(n) + " x " + std::to_string(k));
      const HostMatrix<T> A = integer_factor<T>(n);
      HostMatrix<T> X(n, k);
      for (index_t j = 0; j < k; ++j) {
        for (index_t i = 0; i < n; ++i) X(i, j) = T(static_cast<real_t<T>>((i + 2 * j) % 3 + 1));
      }
      HostMatrix<T> B = product(A, X, false);
      EXPECT_EQ(solve_residual(A, X, B), 0);
      if (n == 0 || k == 0) continue;
      B(n / 2, k - 1) += T(3);
      double size = 0;
      for (index_t i = 0; i < n; ++i) size += std::abs(X(i, k - 1));
      const double expected = 3 / (static_cast<double>(n) * eps<T> * norm1(A) * size);
      EXPECT_NEAR(solve_residual(A, X, B), expected, 1e-6 * expected);
    }
  }
}

TYPED_TEST(Residuals, OfEigenvectorsAreThoseOfTheDefinition) {
  using T = TypeParam;
  for (const index_t n : {1, 2, 5, 65}) {
    SCOPED_TRACE(n);
    // A V = V diag(w) for A = diag(1 .. n) and V of columns of I times 2.
    HostMatrix<T> A(n, n), V(n, n);
    std::vector<real_t<T>> w;
    for (index_t i = 0; i < n; ++i) {
      w.push_back(static_cast<real_t<T>>(i + 1));
      A(i, i) = T(w.back());
      V(i, i) = T(2);
    }
    EXPECT_EQ(eigen_residual(A, V, w), 0);
    w[0] += 1;
    const double expected = 2 / (static_cast<double>(n) * eps<T> * norm1(A));
    EXPECT_NEAR(eigen_residual(A, V, w), expected, 1e-6 * expected);
    w[0] = quiet_nan<real_t<T>>();
    EXPECT_TRUE(std::isnan(eigen_residual(A, V, w)));
  }
}

TYPED_TEST(Residuals, AreNaNWhereAnOperandHasOne) {
  using T = TypeParam;
  const index_t n = 70;
  const HostMatrix<T> L = integer_factor<T>(n);
  const HostMatrix<T> A = product(L, L, true);
  const HostMatrix<T> X = random_matrix<T>(n, 3, 1);
  for (const auto& [i, j] : {std::pair<index_t, index_t>{0, 0}, {69, 0}, {69, 69}, {40, 17}}) {
    HostMatrix<T> bad = A;
    bad(i, j) = bad(j, i) = quiet_nan<T>();
    EXPECT_TRUE(std::isnan(factor_residual(bad, L)));
    EXPECT_TRUE(std::isnan(solve_residual(bad, X, X)));
    bad = L;
    bad(i, j) = quiet_nan<T>();
    EXPECT_TRUE(std::isnan(factor_residual(A, bad)));
    bad = X;
    bad(i, j % 3) = quiet_nan<T>();
    EXPECT_TRUE(std::isnan(solve_residual(A, bad, X)));
    EXPECT_TRUE(std::isnan(solve_residual(A, X, bad)));
  }
}

TYPED_TEST(Residuals, OfALostSolutionAreInfinite) {
  using T = TypeParam;
  const HostMatrix<T> A = integer_factor<T>(5);
  EXPECT_TRUE(std::isinf(solve_residual(A, HostMatrix<T>(5, 1), random_matrix<T>(5, 1, 1))));
}

}  // namespace
