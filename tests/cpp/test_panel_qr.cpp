// The QR factorisation of a panel of the reduction to band form, with its guards.
#include <cmath>

#include <gtest/gtest.h>

#include "api/band_reduction_plan.hpp"
#include "dense_algebra.hpp"
#include "kinds.hpp"
#include "testing/matrices.hpp"
#include "testing/residuals.hpp"

namespace {

using jaxmg::index_t;
using jaxmg::PanelRoute;
using jaxmg::real_t;
using jaxmg::wide_t;
using jaxmg::testing::Shared;
using namespace jaxmg_testing;
using namespace jaxmg::testing;

constexpr double bound = 10;

struct PanelSize {
  index_t rows, cols;
};

template <class P>
class PanelQr : public jaxmg::testing::KindTest<typename P::Kind> {
 protected:
  using Value = typename P::type;
  using W = wide_t<Value>;
  using B = typename P::Kind::Backend;

  void SetUp() override {
    jaxmg::testing::KindTest<typename P::Kind>::SetUp();
    jaxmg::cpu::set_permits(2);
  }

  struct Result {
    PanelRoute route;
    HostMatrix<Value> A;  ///< Y below the diagonal, R on it and above
    HostMatrix<Value> factor;
  };

  Result factor(const HostMatrix<Value>& A) {
    const index_t m = A.rows(), w = A.cols();
    Shared<typename P::Kind, Value> panel(A), factor(filled_with_nan<Value>(w, w));
    Shared<typename P::Kind, W> wide(filled_with_nan<W>(m, w)), small(filled_with_nan<W>(w, 5 * w));
    typename P::Kind::template Vector<std::int32_t> info(1, 77);
    const auto device = P::Kind::device();
    typename B::Queue queue(*device, jaxmg::Priority::normal);
    Result result;
    result.route = jaxmg::panel_qr<B, Value>(queue, panel.view(), factor.view(),
                                             {wide.view(), small.view(), info.data()});
    queue.synchronize();
    result.A = panel.host();
    result.factor = factor.host();
    return result;
  }

  /// I - Y factor Y^H, all of it.
  static HostMatrix<Value> unitary(const Result& result) {
    const index_t m = result.A.rows(), w = result.A.cols();
    HostMatrix<W> Y = widened(result.A);
    for (index_t j = 0; j < w; ++j) {
      for (index_t i = 0; i < j; ++i) Y(i, j) = W(0);
      Y(j, j) = W(1);
    }
    const auto minus_YT = negative_product(Y, widened(result.factor));
    const auto Q = minus_product(negative_product(minus_YT, conj_transposed(Y)), identity<W>(m),
                                 identity<W>(m));
    HostMatrix<Value> rounded(m, m);
    for (index_t j = 0; j < m; ++j) {
      for (index_t i = 0; i < m; ++i) rounded(i, j) = Value(-Q(i, j));
    }
    return rounded;
  }

  /// U D V^H with random unitary U and V, D from 1 down to 1 / kappa, geometrically.
  HostMatrix<Value> with_condition(PanelSize size, double kappa, unsigned seed) {
    const index_t m = size.rows, w = size.cols;
    auto UD = widened(unitary(factor(random_matrix<Value>(m, w, seed))));
    const auto V = widened(unitary(factor(random_matrix<Value>(w, w - 1, seed + 1))));
    for (index_t k = 0; k < m; ++k) {
      const double d =
          k < w ? -std::pow(kappa, -static_cast<double>(k) / static_cast<double>(w - 1)) : 0;
      for (index_t i = 0; i < m; ++i) UD(i, k) *= d;
    }
    HostMatrix<W> wide_V(m, w);
    for (index_t j = 0; j < w; ++j) std::copy_n(&V(0, j), w, &wide_V(0, j));
    const auto product = negative_product(UD, wide_V);
    HostMatrix<Value> A(m, w);
    std::transform(product.values().begin(), product.values().end(), A.view().data,
                   [](const W& entry) { return Value(entry); });
    return A;
  }

  static void expect_factors(const HostMatrix<Value>& A, const Result& result) {
    const index_t m = A.rows(), w = A.cols();
    for (index_t j = 0; j < w; ++j) {
      for (index_t i = j + 1; i < w; ++i) EXPECT_EQ(result.factor(i, j), Value(0));
    }
    const HostMatrix<Value> Q = unitary(result);
    EXPECT_LT(orthogonality_residual(Q), bound);
    HostMatrix<W> R(m, w);
    for (index_t j = 0; j < w; ++j) {
      for (index_t i = 0; i <= j; ++i) R(i, j) = W(result.A(i, j));
    }
    const double error = norm1(minus_product(widened(A), widened(Q), R));
    EXPECT_LT(scaled<Value>(error, m, norm1(A)), bound);
  }
};
TYPED_TEST_SUITE(PanelQr, jaxmg::testing::OnAllKinds, jaxmg::testing::KindNames);

constexpr PanelSize panel_sizes[] = {{2, 1}, {3, 2}, {5, 4}, {9, 8}, {40, 8}, {70, 33}};

/// random(m, w) scaled column by column: column j by base^j.
template <jaxmg::Scalar T>
HostMatrix<T> scaled_columns(PanelSize size, double base) {
  HostMatrix<T> A = random_matrix<T>(size.rows, size.cols, 3);
  for (index_t j = 0; j < size.cols; ++j) {
    for (index_t i = 0; i < size.rows; ++i) {
      A(i, j) *= static_cast<real_t<T>>(std::pow(base, static_cast<double>(j)));
    }
  }
  return A;
}

/// Columns that differ from their left neighbour by `distance`: condition about 1 / distance.
template <jaxmg::Scalar T>
HostMatrix<T> near_copies(PanelSize size, double distance) {
  HostMatrix<T> A = random_matrix<T>(size.rows, size.cols, 5);
  for (index_t j = 1; j < size.cols; ++j) {
    for (index_t i = 0; i < size.rows; ++i) {
      A(i, j) = A(i, j - 1) + static_cast<real_t<T>>(distance) * A(i, j);
    }
  }
  return A;
}

TYPED_TEST(PanelQr, TakesCholeskyForIndependentColumns) {
  using T = typename TypeParam::type;
  for (const PanelSize size : panel_sizes) {
    SCOPED_TRACE(::testing::Message() << size.rows << " x " << size.cols);
    const HostMatrix<T> A = random_matrix<T>(size.rows, size.cols, 1);
    const auto result = this->factor(A);
    EXPECT_EQ(result.route, PanelRoute::cholesky_qr);
    this->expect_factors(A, result);
  }
}

TYPED_TEST(PanelQr, TakesCholeskyInDoublePrecisionWhereSinglesWouldFail) {
  using T = typename TypeParam::type;
  const HostMatrix<T> A = near_copies<T>({60, 4}, 1e-5);
  const auto result = this->factor(A);
  EXPECT_EQ(result.route, PanelRoute::cholesky_qr);
  this->expect_factors(A, result);
}

TYPED_TEST(PanelQr, HasNothingToDoForZeros) {
  using T = typename TypeParam::type;
  for (const PanelSize size : panel_sizes) {
    const auto result = this->factor(HostMatrix<T>(size.rows, size.cols));
    EXPECT_EQ(result.route, PanelRoute::nothing);
    for (const T& entry : result.A.values()) EXPECT_EQ(entry, T(0));
    for (const T& entry : result.factor.values()) EXPECT_EQ(entry, T(0));
  }
}

TYPED_TEST(PanelQr, TakesHouseholderForDependentColumns) {
  using T = typename TypeParam::type;
  for (const PanelSize size : panel_sizes) {
    if (size.cols == 1) continue;
    SCOPED_TRACE(::testing::Message() << size.rows << " x " << size.cols);
    HostMatrix<T> rank_one = random_matrix<T>(size.rows, size.cols, 1), last_only = rank_one;
    for (index_t j = 1; j < size.cols; ++j) {
      std::copy_n(&rank_one(0, 0), size.rows, &rank_one(0, j));
    }
    // What a tridiagonal matrix leaves below its band.
    std::fill_n(last_only.view().data, size.rows * size.cols, T(0));
    last_only(0, size.cols - 1) = T(1);
    for (const HostMatrix<T>& A : {rank_one, last_only}) {
      const auto result = this->factor(A);
      EXPECT_EQ(result.route, PanelRoute::householder);
      this->expect_factors(A, result);
    }
  }
}

TYPED_TEST(PanelQr, TakesHouseholderWhereTheFirstPassIsFarFromOrthonormal) {
  using T = typename TypeParam::type;
  // From a condition of 1 / sqrt(eps) on, some have two positive definite Gram matrices and yet no
  // orthonormal Q.
  int householder = 0;
  unsigned seed = 0;
  for (double kappa = 1e7; kappa < 1e14; kappa *= 1.2) {
    SCOPED_TRACE(kappa);
    const HostMatrix<T> A = this->with_condition({24, 7}, kappa, ++seed);
    const auto result = this->factor(A);
    householder += result.route == PanelRoute::householder ? 1 : 0;
    this->expect_factors(A, result);
  }
  EXPECT_GT(householder, 0);
}

TYPED_TEST(PanelQr, HoldsForColumnsOfAnySize) {
  using T = typename TypeParam::type;
  const bool is_double = sizeof(real_t<T>) == sizeof(double);
  for (const double base : {is_double ? 1e-20 : 1e-4, is_double ? 1e-40 : 1e-6}) {
    const HostMatrix<T> A = scaled_columns<T>({40, 7}, base);
    this->expect_factors(A, this->factor(A));
  }
}

TYPED_TEST(PanelQr, EndsWithNanForNan) {
  using T = typename TypeParam::type;
  HostMatrix<T> A = random_matrix<T>(30, 5, 1);
  A(7, 2) = quiet_nan<T>();
  const auto result = this->factor(A);
  EXPECT_EQ(result.route, PanelRoute::householder);
  EXPECT_TRUE(std::isnan(norm1(result.A)));
}

}  // namespace
