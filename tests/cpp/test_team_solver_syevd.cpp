// syevd by a library that one rank calls for all (team_solver_stand_in.hpp).
#include <cmath>
#include <string>

#include "decompose.hpp"
#include "jaxmg/error.hpp"
#include "team_solver_stand_in.hpp"

namespace {

using namespace jaxmg::testing::eigen;
using jaxmg::Eigenvectors;
using jaxmg::Engine;
using jaxmg::SyevdProblem;
using jaxmg::testing::Behaviour;
using jaxmg::testing::Seats;
using jaxmg::testing::tested_tiles;

template <class P>
struct ByTeamSolver {
  ByTeamSolver(int ranks, const Behaviour& behaviour = {}) : seats(ranks, behaviour) {}

  static SyevdProblem planned(SyevdProblem problem) {
    problem.engine = Engine::cusolvermg;
    return jaxmg::planned(problem, jaxmg::Platform::cuda, jaxmg::dtype_of<typename P::type>());
  }
  template <class B, Scalar T>
  static std::size_t bytes(const jaxmg::Rank<B>&, const SyevdProblem& problem) {
    return jaxmg::syevd_workspace_bytes<T>(problem, {});
  }
  template <class B, Scalar T>
  void run(jaxmg::Rank<B>& rank, const SyevdProblem& problem,
           const jaxmg::SyevdOperands<T>& operands) const {
    jaxmg::run_syevd<B, T>(rank, problem, operands, &seats[rank.index()]);
  }

  mutable Seats<typename P::Kind, typename P::type> seats;
};

/// `way` without what these programs have not, or ranks of P's kind.
template <class P>
Way rows(Way way) {
  way.eigenvectors = Eigenvectors::rows;
  way.direct = jaxmg::testing::directly<typename P::Kind>(way.direct);
  return way;
}

template <class P>
class TeamSolverSyevd : public jaxmg::testing::KindTest<typename P::Kind> {
 protected:
  static void expect_right(const HostMatrix<typename P::type>& A, const Way& way) {
    expect_eigen<P>(A, rows<P>(way), ByTeamSolver<P>(way.ranks));
  }
};
TYPED_TEST_SUITE(TeamSolverSyevd, jaxmg::testing::OnAllKindsAndProcesses,
                 jaxmg::testing::KindNames);

template <class P>
class TeamSolverSyevdOnCpu : public TeamSolverSyevd<P> {};
TYPED_TEST_SUITE(TeamSolverSyevdOnCpu, jaxmg::testing::OnCpuAndProcesses,
                 jaxmg::testing::KindNames);

/// Tiles that cut the shards evenly, so that A's own storage serves, and others; padded storage.
TYPED_TEST(TeamSolverSyevd, EverySizeAndNumberOfRanks) {
  using T = typename TypeParam::type;
  for (const int ranks : {1, 2, 3, 4}) {
    for (const index_t n : {1, 2, 7, 48, 65}) {
      const HostMatrix<T> A = make_eigen_matrix<T>(EigenKind::random, n);
      for (const index_t tile : tested_tiles<typename TypeParam::Kind>()) {
        for (const bool in_place : {false, true}) {
          const index_t pad = n == 7 ? 3 : 0;
          this->expect_right(A, {ranks, tile, {}, ranks % 2 == 0, in_place, pad});
        }
      }
    }
  }
}

TYPED_TEST(TeamSolverSyevd, OrderZero) {
  using T = typename TypeParam::type;
  this->expect_right(make_eigen_matrix<T>(EigenKind::random, 0), {2, 4, {}, true, false, 2});
}

TYPED_TEST(TeamSolverSyevd, EveryKindOfMatrix) {
  using T = typename TypeParam::type;
  for (const EigenKind kind : all_eigen_kinds) {
    if (kind == EigenKind::nan) continue;
    SCOPED_TRACE(to_string(kind));
    this->expect_right(make_eigen_matrix<T>(kind, 53), {3, 7, {}, false, true});
  }
}

/// Entries near the ends of T's range.
TYPED_TEST(TeamSolverSyevd, ScalesByAPowerOfTwo) {
  using T = typename TypeParam::type;
  using R = real_t<T>;
  const HostMatrix<T> A = make_eigen_matrix<T>(EigenKind::random, 23);
  const ByTeamSolver<TypeParam> by(3);
  const Way way = rows<TypeParam>({3, 4, {}, false, true});
  const Eigen<T> expected = decompose<TypeParam>(A, way, by);
  const int exponent = std::numeric_limits<R>::max_exponent - 30;
  for (const int k : {exponent, -exponent}) {
    HostMatrix<T> scaled = A;
    const R factor = std::ldexp(R(1), k);
    std::for_each_n(scaled.view().data, 23 * 23, [factor](T& x) { x *= factor; });
    const Eigen<T> eigen = decompose<TypeParam>(scaled, way, by);
    EXPECT_EQ(eigen.info, 0);
    for (std::size_t i = 0; i < eigen.w.size(); ++i) {
      const R tolerance = 300 * std::numeric_limits<R>::epsilon();
      EXPECT_NEAR(std::ldexp(eigen.w[i], -k), expected.w[i], tolerance);
    }
    EXPECT_LT(eigen_residual(A, eigen.V, expected.w), 10);
  }
}

TYPED_TEST(TeamSolverSyevd, NotFinite) {
  using T = typename TypeParam::type;
  using R = real_t<T>;
  for (const R bad : {quiet_nan<R>(), std::numeric_limits<R>::infinity()}) {
    HostMatrix<T> A = make_eigen_matrix<T>(EigenKind::random, 25);
    A(20, 11) = A(11, 20) = bad;
    Way way = rows<TypeParam>({3, 4, {}, false, false, 1});
    Behaviour behaviour;
    behaviour.before = [](const char*) { FAIL() << "the library need not come to an end"; };
    const ByTeamSolver<TypeParam> by(3, behaviour);
    const Eigen<T> eigen = decompose<TypeParam>(A, way, by);
    way.eigenvectors = Eigenvectors::none;
    const Eigen<T> values = decompose<TypeParam>(A, way, by);
    EXPECT_NE(eigen.info, 0);
    EXPECT_NE(values.info, 0);
    const auto is_nan = [](const auto& x) { return x != x; };
    EXPECT_TRUE(std::all_of(eigen.w.begin(), eigen.w.end(), is_nan));
    EXPECT_TRUE(std::all_of(values.w.begin(), values.w.end(), is_nan));
    EXPECT_TRUE(std::all_of(eigen.V.values().begin(), eigen.V.values().end(), is_nan));
  }
}

TYPED_TEST(TeamSolverSyevdOnCpu, UnderChaos) {
  using T = typename TypeParam::type;
  for (unsigned seed = 1; seed <= 6; ++seed) {
    jaxmg::set_cpu_chaos(seed, 300);
    const HostMatrix<T> A = make_eigen_matrix<T>(EigenKind::random, 36, seed);
    this->expect_right(A, {3, 4, {}, seed % 3 == 0, seed % 2 == 0});
    this->expect_right(A, {4, 5, {}, seed % 3 == 0, seed % 2 == 0, 1});
  }
}

/// info is the library's, and everything is NaN then.
TYPED_TEST(TeamSolverSyevdOnCpu, AnIterationThatDoesNotConverge) {
  using T = typename TypeParam::type;
  Behaviour behaviour;
  behaviour.told = 5;
  const HostMatrix<T> A = make_eigen_matrix<T>(EigenKind::random, 12);
  const ByTeamSolver<TypeParam> by(2, behaviour);
  const Eigen<T> eigen = decompose<TypeParam>(A, rows<TypeParam>({2, 3, {}}), by);
  EXPECT_EQ(eigen.info, 5);
  EXPECT_TRUE(std::all_of(eigen.w.begin(), eigen.w.end(), [](auto x) { return x != x; }));
  EXPECT_TRUE(
      std::all_of(eigen.V.values().begin(), eigen.V.values().end(), [](auto x) { return x != x; }));
}

/// One error on all ranks; the next call works.
TYPED_TEST(TeamSolverSyevdOnCpu, AFailingLibraryIsOneError) {
  using T = typename TypeParam::type;
  const HostMatrix<T> A = make_eigen_matrix<T>(EigenKind::random, 12);
  const Way way{3, 2, {}};
  for (const char* routine : {"make", "syevd"}) {
    Behaviour behaviour;
    behaviour.before = [routine](const char* now) {
      if (std::string(now) == routine) throw jaxmg::DeviceError(std::string("no ") + routine);
    };
    try {
      decompose<TypeParam>(A, rows<TypeParam>(way), ByTeamSolver<TypeParam>(3, behaviour));
      FAIL() << routine << " did not fail";
    } catch (const jaxmg::TeamError& error) {
      EXPECT_EQ(std::string(error.what()), std::string("rank 0 of 3 failed: no ") + routine);
    }
    this->expect_right(A, way);
  }
}

// ---- Sizes: what no device is asked for

index_t tile_of(index_t columns, int ranks, index_t tile,
                jaxmg::Platform platform = jaxmg::Platform::cuda) {
  SyevdProblem problem{columns, columns, ranks, tile, Eigenvectors::rows, false};
  problem.engine = Engine::cusolvermg;
  const SyevdProblem plan = jaxmg::planned(problem, platform, jaxmg::DType::f64);
  EXPECT_FALSE(plan.on_one_rank);
  return plan.tile;
}

TEST(TeamSolverSyevdPlan, Tiles) {
  EXPECT_EQ(tile_of(65536, 2, 0), 512);
  EXPECT_EQ(tile_of(2 * 600, 2, 0), 300) << "cuts 600 evenly";
  EXPECT_EQ(tile_of(64, 2, 0), 32) << "small ones too are the library's";
  EXPECT_EQ(tile_of(8192, 2, 1024), 1024);
  EXPECT_EQ(tile_of(8 * 100, 8, 4096), 100) << "no wider than a rank's columns";
}

TEST(TeamSolverSyevdPlan, RefusesWiderTilesAndCpus) {
  const auto refusal = [](const auto& f) -> std::string {
    try {
      f();
    } catch (const jaxmg::InvalidArgument& error) {
      return error.what();
    }
    return "nothing";
  };
  EXPECT_NE(refusal([] {
              tile_of(65536, 2, 1025);
            }).find("cuSOLVERMg's eigensolver takes tiles up to 1024, got 1025"),
            std::string::npos);
  EXPECT_NE(refusal([] {
              tile_of(64, 2, 0, jaxmg::Platform::cpu);
            }).find("cusolvermg is NVIDIA's library for its GPUs"),
            std::string::npos);
}

/// As documented: the matrix, unless its own storage serves, and two tiles.
TEST(TeamSolverSyevdPlan, Workspace) {
  SyevdProblem problem{4096, 4096, 2, 256, Eigenvectors::rows, false};
  problem.engine = Engine::cusolvermg;
  const auto elements = [&] {
    return static_cast<double>(jaxmg::syevd_workspace_bytes<double>(problem, {})) / 8;
  };
  EXPECT_NEAR(elements(), 4096 * 2048 + 2 * 256 * 4096, 1000);
  problem.in_place = true;
  EXPECT_NEAR(elements(), 2 * 256 * 4096, 1000);
  problem.tile = 300;  // 14 tiles
  EXPECT_NEAR(elements(), 4096 * 7 * 300 + 2 * 300 * 4096, 1000);
}

}  // namespace
