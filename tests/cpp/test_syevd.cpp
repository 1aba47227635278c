// Eigenvalues and eigenvectors of distributed Hermitian matrices: by the rank program, in every way
// that it can run, and by the public interface.
#include <algorithm>
#include <array>
#include <cmath>
#include <stdexcept>

#include <gtest/gtest.h>

#include "decompose.hpp"
#include "jaxmg/error.hpp"
#include "jaxmg/syevd.hpp"
#include "kinds.hpp"
#include "testing/eigen_matrices.hpp"
#include "testing/matrices.hpp"
#include "testing/reference_eigenvalues.hpp"
#include "testing/residuals.hpp"

namespace {

using namespace jaxmg::testing::eigen;
using jaxmg::DistributedMatrix;
using jaxmg::Eigenvectors;

template <class P>
class Syevd : public jaxmg::testing::KindTest<typename P::Kind> {};
TYPED_TEST_SUITE(Syevd, jaxmg::testing::OnAllKindsAndProcesses, jaxmg::testing::KindNames);

TYPED_TEST(Syevd, EveryKindOfMatrix) {
  using T = typename TypeParam::type;
  int turn = 0;
  for (const EigenKind kind : all_eigen_kinds) {
    if (kind == EigenKind::nan) continue;
    SCOPED_TRACE(to_string(kind));
    for (const index_t n : {29, 53}) {
      Way way{1 + turn % 4, 7, {5, 10}, turn % 8 < 4, turn % 3 == 0};
      if (turn % 5 < 2) way.eigenvectors = Eigenvectors::rows;
      way.on_one_rank = turn % 7 == 0;
      expect_eigen<TypeParam>(make_eigen_matrix<T>(kind, n), way);
      ++turn;
    }
  }
}

TYPED_TEST(Syevd, EverySizeAndNumberOfRanks) {
  using T = typename TypeParam::type;
  for (const index_t n : {0, 1, 2, 3, 4, 5, 8, 9, 10, 17}) {
    const HostMatrix<T> A = make_eigen_matrix<T>(EigenKind::random, n);
    for (const int ranks : {1, 2, 3, 4}) {
      const bool direct = (n + ranks) % 2 == 0;
      const auto kind = n % 5 < 2 ? Eigenvectors::rows : Eigenvectors::columns;
      Way way{ranks, 4, {4, 8}, direct, n % 3 == 0, n % 4, kind};
      expect_eigen<TypeParam>(A, way);
      way.on_one_rank = true;
      expect_eigen<TypeParam>(A, way);
    }
  }
}

/// Entries near the ends of T's range; the residual is that of the scaled matrix.
TYPED_TEST(Syevd, ScalesByAPowerOfTwo) {
  using T = typename TypeParam::type;
  using R = real_t<T>;
  const HostMatrix<T> A = make_eigen_matrix<T>(EigenKind::random, 23);
  Way way{3, 4, {4, 8}, false, true};
  const int exponent = std::numeric_limits<R>::max_exponent - 30;
  for (const int k : {exponent, -exponent}) {
    way.on_one_rank = k < 0;
    const Eigen<T> expected = decompose<TypeParam>(A, way);
    HostMatrix<T> scaled = A;
    std::for_each_n(scaled.view().data, 23 * 23, [k](T& x) {
      if constexpr (jaxmg::is_complex_v<T>) {
        x = {std::ldexp(x.real(), k), std::ldexp(x.imag(), k)};
      } else {
        x = std::ldexp(x, k);
      }
    });
    const Eigen<T> eigen = decompose<TypeParam>(scaled, way);
    for (std::size_t i = 0; i < eigen.w.size(); ++i) {
      EXPECT_EQ(eigen.w[i], std::ldexp(expected.w[i], k));
    }
    EXPECT_EQ(eigen.V.values(), expected.V.values());
  }
}

TYPED_TEST(Syevd, NotFinite) {
  using T = typename TypeParam::type;
  using R = real_t<T>;
  for (const R bad : {quiet_nan<R>(), std::numeric_limits<R>::infinity()}) {
    for (const int ranks : {1, 3}) {
      HostMatrix<T> A = make_eigen_matrix<T>(EigenKind::random, 25);
      A(20, 11) = A(11, 20) = bad;
      Way way{ranks, 4, {4, 8}, false, false, 1};
      way.on_one_rank = std::isnan(bad) && ranks == 3;
      const Eigen<T> eigen = decompose<TypeParam>(A, way);
      way.eigenvectors = Eigenvectors::none;
      const Eigen<T> values = decompose<TypeParam>(A, way);
      EXPECT_NE(eigen.info, 0);
      EXPECT_NE(values.info, 0);
      const auto is_nan = [](const auto& x) { return x != x; };
      EXPECT_TRUE(std::all_of(eigen.w.begin(), eigen.w.end(), is_nan));
      EXPECT_TRUE(std::all_of(values.w.begin(), values.w.end(), is_nan));
      EXPECT_TRUE(std::all_of(eigen.V.values().begin(), eigen.V.values().end(), is_nan));
    }
  }
}

TYPED_TEST(Syevd, UnderRandomScheduling) {
  using T = typename TypeParam::type;
  const HostMatrix<T> A = make_eigen_matrix<T>(EigenKind::random, 31);
  for (const unsigned seed : {1U, 2U}) {
    jaxmg::set_cpu_chaos(seed, 50);
    for (const int ranks : {1, 2, 4}) {
      Way way{ranks, 4, {4, 8}, ranks == 2, seed == 2};
      if (seed == 2) way.eigenvectors = Eigenvectors::rows;
      expect_eigen<TypeParam>(A, way);
      way.on_one_rank = true;
      expect_eigen<TypeParam>(A, way);
    }
  }
}

/// Ranks that own no tile column still read what the others work out, while the first one goes on
/// to chase bulges: its chunks lie where that was.
TYPED_TEST(Syevd, RanksWithoutTilesUnderRandomScheduling) {
  using T = typename TypeParam::type;
  jaxmg::set_cpu_chaos(1, 20);
  expect_eigen<TypeParam>(make_eigen_matrix<T>(EigenKind::random, 100),
                          {2, 100, {4, 4}, true, false, 50});
}

// ---- The public interface ---------------------------------------------------------------------

template <class P>
jaxmg::SyevdResult<typename P::type> solve(const HostMatrix<typename P::type>& A,
                                           const Setting& setting,
                                           const jaxmg::SyevdOptions& options) {
  DistributedMatrix<typename P::type> matrix(P::Kind::team(setting), A.cols());
  distribute_lower(A, matrix);
  return jaxmg::syevd(std::move(matrix), options);
}

/// A x = w x for x and w of the public interface, zero beyond the order.
TYPED_TEST(Syevd, Public) {
  using T = typename TypeParam::type;
  for (const index_t n : {0, 1, 7, 30, 67}) {
    const HostMatrix<T> A = make_eigen_matrix<T>(EigenKind::geometric, n);
    for (const Setting& setting : {Setting{1, 0, true}, Setting{3, 0, false}, Setting{2, 16, true},
                                   Setting{4, 5, false}, Setting{3, 500, true}}) {
      SCOPED_TRACE(::testing::Message() << "n = " << n << ", " << setting);
      jaxmg::SyevdOptions options;
      options.tile = setting.tile;
      const auto both = solve<TypeParam>(A, setting, options);
      EXPECT_EQ(both.info, 0);
      ASSERT_TRUE(both.vectors);
      EXPECT_EQ(static_cast<index_t>(both.w.size()), n);
      EXPECT_TRUE(std::is_sorted(both.w.begin(), both.w.end()));
      const HostMatrix<T> V = gather(*both.vectors);
      EXPECT_LT(eigen_residual(A, V, both.w), 10);
      EXPECT_LT(orthogonality_residual(V), 10);
      options.eigenvectors = false;
      options.bandwidth = 7;
      const auto values = solve<TypeParam>(A, setting, options);
      EXPECT_EQ(values.info, 0);
      EXPECT_FALSE(values.vectors);
      EXPECT_LT(eigenvalue_error(A, values.w), 10);
    }
  }
}

TYPED_TEST(Syevd, PublicNotFinite) {
  using T = typename TypeParam::type;
  HostMatrix<T> A = make_eigen_matrix<T>(EigenKind::nan, 40);
  for (const index_t tile : {0, 8}) {
    jaxmg::SyevdOptions options;
    options.tile = tile;
    const auto result = solve<TypeParam>(A, {3, tile, true}, options);
    EXPECT_NE(result.info, 0);
    const auto is_nan = [](const auto& x) { return x != x; };
    EXPECT_TRUE(std::all_of(result.w.begin(), result.w.end(), is_nan));
    const HostMatrix<T> V = gather(*result.vectors);
    EXPECT_TRUE(std::all_of(V.values().begin(), V.values().end(), is_nan));
  }
}

std::vector<std::string> stages_of(index_t tile, bool eigenvectors) {
  std::vector<std::string> stages;
  const HostMatrix<double> A = make_eigen_matrix<double>(EigenKind::random, 40);
  jaxmg::SyevdOptions options;
  options.tile = tile;
  options.eigenvectors = eigenvectors;
  options.listener = [&](const char* stage) { stages.push_back(stage ? stage : "end"); };
  solve<jaxmg::testing::On<jaxmg::testing::Cpu, double>>(A, {3, tile, true}, options);
  return stages;
}

TEST(SyevdStages, AreTold) {
  using Names = std::vector<std::string>;
  EXPECT_EQ(stages_of(8, true),
            (Names{"distribution", "reduction to band form", "bulge chasing", "divide and conquer",
                   "bulge back-transform", "band back-transform", "transposition", "end"}));
  EXPECT_EQ(stages_of(8, false),
            (Names{"distribution", "reduction to band form", "bulge chasing", "bisection", "end"}));
  EXPECT_EQ(stages_of(0, true), (Names{"solution on one rank", "end"}));
}

TEST(SyevdStages, AListenerThatThrowsFailsTheCall) {
  using P = jaxmg::testing::On<jaxmg::testing::Cpu, double>;
  const HostMatrix<double> A = make_eigen_matrix<double>(EigenKind::random, 40);
  jaxmg::SyevdOptions options;
  options.tile = 8;
  options.listener = [](const char*) { throw std::runtime_error("no more of this"); };
  EXPECT_THROW(solve<P>(A, {3, 8, true}, options), std::exception);
  options.listener = nullptr;
  EXPECT_EQ(solve<P>(A, {3, 8, true}, options).info, 0);
}

TEST(SyevdPublic, RefusesWhatMakesNoSense) {
  using P = jaxmg::testing::On<jaxmg::testing::Cpu, double>;
  const HostMatrix<double> A = make_eigen_matrix<double>(EigenKind::random, 4);
  jaxmg::SyevdOptions options;
  options.tile = -1;
  EXPECT_THROW(solve<P>(A, {2, 0, true}, options), jaxmg::InvalidArgument);
  options.tile = 0;
  options.bandwidth = -1;
  EXPECT_THROW(solve<P>(A, {2, 0, true}, options), jaxmg::InvalidArgument);
  const jaxmg::SyevdProblem wide{100, 100, 2, 10, Eigenvectors::none, false, {65, 0}};
  EXPECT_THROW(jaxmg::planned(wide, jaxmg::Platform::cuda, jaxmg::DType::f64),
               jaxmg::InvalidArgument);
  EXPECT_EQ(jaxmg::planned(wide, jaxmg::Platform::cpu, jaxmg::DType::f64).band.bandwidth, 65);
}

}  // namespace
