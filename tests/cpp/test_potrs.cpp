// Solves with a Cholesky factor through the public interface.
#include <cmath>
#include <thread>

#include <gtest/gtest.h>

#include "jaxmg/error.hpp"
#include "jaxmg/potrs.hpp"
#include "kinds.hpp"
#include "testing/matrices.hpp"
#include "testing/residuals.hpp"

namespace {

using jaxmg::CholeskyFactor;
using jaxmg::index_t;
using jaxmg::testing::factor;
using namespace jaxmg_testing;

template <class P>
class Potrs : public jaxmg::testing::KindTest<typename P::Kind> {};
TYPED_TEST_SUITE(Potrs, jaxmg::testing::OnAllKinds, jaxmg::testing::KindNames);

/// What is only about the CPU's queues.
template <class P>
class PotrsOnCpu : public Potrs<P> {};
TYPED_TEST_SUITE(PotrsOnCpu, jaxmg::testing::OnCpu, jaxmg::testing::KindNames);

template <jaxmg::Scalar T>
void expect_solves(const HostMatrix<T>& A, const CholeskyFactor<T>& factor, index_t rhs,
                   unsigned seed = 1) {
  const HostMatrix<T> B = random_matrix<T>(A.rows(), rhs, seed);
  HostMatrix<T> X = B;
  jaxmg::potrs(factor, X.view());
  EXPECT_LT(solve_residual(A, X, B), 10) << rhs << " right-hand sides";
}

TYPED_TEST(Potrs, SolvesForEverySizeTileAndNumberOfRanks) {
  using T = typename TypeParam::type;
  for (const index_t tile : {1, 5, 16, 1000}) {
    for (const index_t n : {index_t{1}, tile - 1, tile, tile + 1, index_t{53}}) {
      if (n < 1 || n > 60) continue;
      const HostMatrix<T> A = make_matrix<T>({Kind::spd, n, 100, 1}).A;
      for (const int ranks : {1, 2, 3, 4, 7, 8}) {
        const Setting setting{ranks, tile, (n + ranks) % 2 == 0};
        SCOPED_TRACE(::testing::Message() << "n = " << n << ", " << setting);
        const CholeskyFactor<T> L = factor<TypeParam>(A, setting);
        expect_solves(A, L, 1);
        expect_solves(A, L, 3);
      }
    }
  }
}

TYPED_TEST(Potrs, SolvesForAnyNumberOfRightHandSides) {
  using T = typename TypeParam::type;
  const index_t n = 131;
  const HostMatrix<T> A = make_matrix<T>({Kind::matern_sorted, n, 1e3, 1}).A;
  for (const Setting& setting :
       {Setting{1, 32, true}, {2, 16, false}, {3, 0, true}, {3, 32, false}, {8, 5, true}}) {
    SCOPED_TRACE(::testing::Message() << setting);
    const CholeskyFactor<T> L = factor<TypeParam>(A, setting);
    for (const index_t rhs : {0, 1, 3, 17, 150}) expect_solves(A, L, rhs);
  }
}

TYPED_TEST(Potrs, SolvesNothing) {
  using T = typename TypeParam::type;
  const CholeskyFactor<T> L = factor<TypeParam>(HostMatrix<T>(0, 0), {3, 8, true});
  HostMatrix<T> X(0, 5);
  jaxmg::potrs(L, X.view());
}

TYPED_TEST(PotrsOnCpu, SolvesUnderRandomScheduling) {
  using T = typename TypeParam::type;
  const HostMatrix<T> A = make_matrix<T>({Kind::rbf_shuffled, 47, 1e3, 1}).A;
  for (const unsigned seed : {1U, 2U, 3U}) {
    for (const Setting& setting : {Setting{2, 5, false}, {3, 5, true}, {4, 4, false}}) {
      SCOPED_TRACE(::testing::Message() << "seed " << seed << ", " << setting);
      jaxmg::set_cpu_chaos(seed);
      const CholeskyFactor<T> L = factor<TypeParam>(A, setting);
      expect_solves(A, L, 1);
      expect_solves(A, L, 4);
      jaxmg::set_cpu_chaos(0);
    }
  }
}

TYPED_TEST(Potrs, SolvesInAWindowOfALargerArray) {
  using T = typename TypeParam::type;
  const index_t n = 29, rhs = 3, ld = 35;
  const HostMatrix<T> A = make_matrix<T>({Kind::spd, n, 100, 1}).A;
  const HostMatrix<T> B = random_matrix<T>(n, rhs, 1);
  HostMatrix<T> array(ld, rhs);
  std::fill_n(array.view().data, ld * rhs, T(7));
  for (index_t j = 0; j < rhs; ++j) std::copy_n(&B(0, j), n, &array(2, j));
  jaxmg::potrs(factor<TypeParam>(A, {3, 4, false}), array.view().row_range(2, 2 + n));
  HostMatrix<T> X(n, rhs);
  for (index_t j = 0; j < rhs; ++j) {
    std::copy_n(&array(2, j), n, &X(0, j));
    for (const index_t i : {index_t{0}, index_t{1}, n + 2, ld - 1}) EXPECT_EQ(array(i, j), T(7));
  }
  EXPECT_LT(solve_residual(A, X, B), 10);
}

TYPED_TEST(Potrs, LeavesTheFactorAsItIs) {
  using T = typename TypeParam::type;
  const HostMatrix<T> A = make_matrix<T>({Kind::spd, 45, 100, 1}).A;
  const CholeskyFactor<T> L = factor<TypeParam>(A, {3, 8, false});
  HostMatrix<T> before(45, 45), after(45, 45);
  L.gather(before.view());
  for (unsigned seed = 1; seed <= 4; ++seed) expect_solves(A, L, 2, seed);
  L.gather(after.view());
  EXPECT_EQ(before.values(), after.values());
}

TYPED_TEST(Potrs, GivesNaNWithoutAFactor) {
  using T = typename TypeParam::type;
  for (const Kind kind : {Kind::indefinite, Kind::nan}) {
    for (unsigned seed = 1; seed <= 4; ++seed) {
      for (const Setting& setting : {Setting{1, 64, true}, {3, 5, false}, {4, 8, true}}) {
        SCOPED_TRACE(::testing::Message()
                     << to_string(kind) << ", seed " << seed << ", " << setting);
        const CholeskyFactor<T> L =
            factor<TypeParam>(make_matrix<T>({kind, 33, 100, seed}).A, setting);
        ASSERT_NE(L.info(), 0);
        HostMatrix<T> X = random_matrix<T>(33, 3, seed);
        jaxmg::potrs(L, X.view());
        for (const T& x : X.values()) EXPECT_TRUE(std::isnan(jaxmg::real_part(x)));
      }
    }
  }
}

TYPED_TEST(Potrs, SolvesFromTwoThreadsAtOnce) {
  using T = typename TypeParam::type;
  const HostMatrix<T> A = make_matrix<T>({Kind::spd, 70, 100, 1}).A;
  const HostMatrix<T> other = make_matrix<T>({Kind::rbf_sorted, 41, 100, 2}).A;
  const CholeskyFactor<T> shared = factor<TypeParam>(A, {3, 8, false});
  std::thread first([&] {
    for (unsigned seed = 1; seed <= 5; ++seed) expect_solves(A, shared, 2, seed);
  });
  std::thread second([&] {
    const CholeskyFactor<T> own = factor<TypeParam>(other, {4, 5, true});
    for (unsigned seed = 1; seed <= 5; ++seed) {
      expect_solves(A, shared, 1, seed);
      expect_solves(other, own, 3, seed);
    }
  });
  first.join();
  second.join();
}

TYPED_TEST(Potrs, RefusesRightHandSidesOfAnotherLength) {
  using T = typename TypeParam::type;
  const CholeskyFactor<T> L =
      factor<TypeParam>(make_matrix<T>({Kind::spd, 6, 10, 1}).A, {2, 2, true});
  HostMatrix<T> B(5, 2);
  try {
    jaxmg::potrs(L, B.view());
    FAIL() << "accepted";
  } catch (const jaxmg::InvalidArgument& error) {
    EXPECT_STREQ(error.what(), "b: expected 6 rows, got 5");
  }
}

TYPED_TEST(Potrs, SlowIsBackwardStableUpToTheHighestCondition) {
  using T = typename TypeParam::type;
  for (const Kind kind : {Kind::spd, Kind::clustered, Kind::rbf_sorted, Kind::rbf_shuffled,
                          Kind::matern_sorted, Kind::matern_shuffled}) {
    const double highest = highest_kappa(kind, jaxmg::dtype_of<T>());
    for (const double kappa : {10.0, std::sqrt(highest), highest / 10, highest}) {
      const HostMatrix<T> A = make_matrix<T>({kind, 301, kappa, 1}).A;
      for (const Setting& setting : {Setting{1, 0, true}, {3, 32, false}, {4, 75, true}}) {
        SCOPED_TRACE(::testing::Message()
                     << to_string(kind) << ", kappa = " << kappa << ", " << setting);
        const CholeskyFactor<T> L = factor<TypeParam>(A, setting);
        EXPECT_EQ(L.info(), 0);
        expect_solves(A, L, 1);
        expect_solves(A, L, 5);
      }
    }
  }
}

}  // namespace
