// The rank programs behind a factor that is kept: cho_factor, in place and not, and cho_solve, with
// right-hand sides that all ranks have and with each rank's own; with both panel methods, with
// inverses of the diagonal tiles and without, in one memory and in several.
#include <cmath>
#include <cstring>

#include <gtest/gtest.h>

#include "api/factor_program.hpp"
#include "dense_algebra.hpp"
#include "jaxmg/matrix.hpp"
#include "solutions.hpp"
#include "testing/matrices.hpp"

namespace {

using jaxmg::CholeskyProblem;
using jaxmg::DistributedMatrix;
using jaxmg::index_t;
using jaxmg::real_t;
using jaxmg::testing::expect_nan;
using jaxmg::testing::expect_solutions;
using jaxmg::testing::filled_with_nan;
using jaxmg::testing::negative_product;
using jaxmg::testing::Shared;
using jaxmg::testing::transposed;
using namespace jaxmg_testing;

/// How a factor is made and used.
struct Way {
  Setting setting;
  bool in_place;
  bool keeps_inverses;
  index_t pad;  ///< further storage columns a rank, and further rows of right-hand sides
};

/// All that is not a size by the bits of `turn`; storage beyond the order in two of three.
Way way_of_turn(int ranks, index_t tile, unsigned turn) {
  return {{ranks, tile, (turn & 4) != 0}, (turn & 1) != 0, (turn & 2) != 0, turn % 3};
}

std::ostream& operator<<(std::ostream& out, const Way& way) {
  return out << way.setting << ", in place " << way.in_place << ", inverses " << way.keeps_inverses
             << ", pad " << way.pad;
}

/// A factor as its owner keeps it from call to call.
template <class Kind, jaxmg::Scalar T>
struct Factor {
  CholeskyProblem problem;
  DistributedMatrix<T> L;
  std::vector<Shared<Kind, T>> inverses;  ///< of each rank's tiles, or 0 x 0
  typename Kind::template Vector<std::int32_t> info;
  typename Kind::template Vector<real_t<T>> logdet;
};

/// Byte by byte: there are NaNs.
template <jaxmg::Scalar T>
bool are_identical(const HostMatrix<T>& A, const HostMatrix<T>& B) {
  const std::size_t bytes = A.values().size() * sizeof(T);
  return bytes == 0 || std::memcmp(A.values().data(), B.values().data(), bytes) == 0;
}

/// By cho_factor_program(). What it has to write is NaN before, and so is its workspace.
template <class P, class Kind = typename P::Kind, class T = typename P::type>
Factor<Kind, T> factor(const HostMatrix<T>& M, const Way& way) {
  using B = typename Kind::Backend;
  const int ranks = way.setting.ranks;
  const index_t n_loc = (M.cols() + ranks - 1) / ranks + way.pad, columns = n_loc * ranks;
  const auto count = static_cast<std::size_t>(ranks);
  const CholeskyProblem problem =
      jaxmg::planned_factor({columns, M.cols(), ranks, way.setting.tile, 0, way.in_place},
                            jaxmg::Platform::cpu, jaxmg::dtype_of<T>());
  const jaxmg::Team team = Kind::team(way.setting);
  DistributedMatrix<T> A(team, columns), other(team, columns);
  distribute_lower(M, A);
  distribute_lower(HostMatrix<T>(0, 0), other);
  const HostMatrix<T> before = gather(A);
  const index_t height = way.keeps_inverses ? problem.tile : 0;
  Factor<Kind, T> made{problem,
                       std::move(way.in_place ? A : other),
                       {count, Shared<Kind, T>(filled_with_nan<T>(height, n_loc))},
                       typename Kind::template Vector<std::int32_t>(count, -1),
                       typename Kind::template Vector<real_t<T>>(count)};
  std::vector<typename Kind::template Vector<std::byte>> workspaces(count);
  Kind::run(way.setting, [&](jaxmg::Rank<B>& rank) {
    const int me = rank.index();
    const auto p = static_cast<std::size_t>(me);
    workspaces[p].resize(jaxmg::CholeskyWorkspace<T>::bytes(problem, jaxmg::traits_of(rank)),
                         std::byte{0xff});
    const MatrixView<T> L = made.L.shard(me);
    jaxmg::cho_factor_program<B, T>(rank, problem,
                                    {way.in_place ? L : A.shard(me), L, made.inverses[p].view(),
                                     &made.logdet[p], &made.info[p], workspaces[p].data()});
  });
  EXPECT_TRUE(way.in_place || are_identical(gather(A), before)) << "the operand was changed";
  return made;
}

enum class Sides { replicated, spread };
constexpr Sides all_sides[] = {Sides::spread, Sides::replicated};
std::ostream& operator<<(std::ostream& out, Sides sides) {
  return out << (sides == Sides::spread ? "spread" : "replicated");
}

/// b as a program's rows, with `pad` further columns that hold no number.
template <jaxmg::Scalar T>
HostMatrix<T> as_rows(const HostMatrix<T>& b, index_t pad) {
  HostMatrix<T> rows = filled_with_nan<T>(b.cols(), b.rows() + pad);
  const HostMatrix<T> numbers = transposed(b);
  std::copy(numbers.values().begin(), numbers.values().end(), rows.view().data);
  return rows;
}

/// Each rank's solutions, `pad` further rows included, by cho_solve_program().
template <class Kind, jaxmg::Scalar T>
std::vector<HostMatrix<T>> solve(Factor<Kind, T>& factor, const Way& way,
                                 const std::vector<HostMatrix<T>>& b, Sides sides) {
  using B = typename Kind::Backend;
  std::vector<Shared<Kind, T>> rows, X;
  for (const HostMatrix<T>& mine : b) {
    rows.emplace_back(as_rows(mine, way.pad));
    X.emplace_back(filled_with_nan<T>(mine.cols(), mine.rows() + way.pad));
  }
  std::vector<typename Kind::template Vector<std::byte>> workspaces(b.size());
  Kind::run(way.setting, [&](jaxmg::Rank<B>& rank) {
    const int me = rank.index();
    const auto p = static_cast<std::size_t>(me);
    const CholeskyProblem& of = factor.problem;
    const MatrixView<T> inverses = factor.inverses[p].view();
    const jaxmg::ChoSolveProblem problem{of.columns,       of.order,    of.ranks,
                                         of.tile,          b[p].cols(), sides == Sides::spread,
                                         !inverses.empty()};
    workspaces[p].resize(jaxmg::ChoSolveWorkspace<T>::bytes(problem, rank.reads_peers_directly()),
                         std::byte{0xff});
    jaxmg::cho_solve_program<B, T>(rank, problem,
                                   {factor.L.shard(me), inverses, &factor.info[p], rows[p].view(),
                                    X[p].view(), workspaces[p].data()});
  });
  std::vector<HostMatrix<T>> x;
  for (const Shared<Kind, T>& mine : X) x.push_back(transposed(mine.host()));
  return x;
}

/// The first n rows; those below must be zero.
template <jaxmg::Scalar T>
HostMatrix<T> leading_rows(const HostMatrix<T>& x, index_t n) {
  HostMatrix<T> leading(n, x.cols());
  for (index_t j = 0; j < x.cols(); ++j) {
    for (index_t i = 0; i < n; ++i) leading(i, j) = x(i, j);
    for (index_t i = n; i < x.rows(); ++i) EXPECT_EQ(x(i, j), T(0)) << "beyond the order";
  }
  return leading;
}

template <class Kind, jaxmg::Scalar T>
void expect_solves(const HostMatrix<T>& M, Factor<Kind, T>& factor, const Way& way,
                   const std::vector<HostMatrix<T>>& b, Sides sides) {
  const std::vector<HostMatrix<T>> x = solve(factor, way, b, sides);
  for (std::size_t p = 0; p < b.size(); ++p) {
    SCOPED_TRACE(::testing::Message() << sides << ", rank " << p << ", " << b[p].cols() << " rhs");
    expect_solutions(M, b[p],
                     {{leading_rows(x[p], M.cols())}, {factor.info[p]}, {factor.logdet[p]}});
  }
}

/// Right-hand sides that are the same on all ranks, or others on each, in other numbers too.
template <jaxmg::Scalar T>
std::vector<HostMatrix<T>> common_sides(index_t n, int ranks, index_t number) {
  return {static_cast<std::size_t>(ranks), random_matrix<T>(n, number, 1)};
}
template <jaxmg::Scalar T>
std::vector<HostMatrix<T>> own_sides(index_t n, const std::vector<index_t>& numbers) {
  std::vector<HostMatrix<T>> b;
  for (const index_t number : numbers) {
    b.push_back(random_matrix<T>(n, number, static_cast<unsigned>(b.size() + 1)));
  }
  return b;
}

/// Factors once and solves in both ways: for 1 to 3 right-hand sides of all ranks', and for 0 to 3
/// of a rank's own.
template <class P>
void expect_right(const Recipe& recipe, const Way& way, unsigned turn) {
  using T = typename P::type;
  SCOPED_TRACE(::testing::Message() << "n = " << recipe.n << ", " << way << ", turn " << turn);
  const TestMatrix<T> matrix = make_matrix<T>(recipe);
  auto made = factor<P>(matrix.A, way);
  const double eps = std::numeric_limits<real_t<T>>::epsilon();
  for (const real_t<T> logdet : made.logdet) {
    EXPECT_EQ(logdet, made.logdet[0]);
    if (!matrix.logdet) continue;
    EXPECT_NEAR(logdet, *matrix.logdet, static_cast<double>(recipe.n) * recipe.kappa * eps);
  }
  std::vector<index_t> numbers;
  const auto ranks = static_cast<unsigned>(way.setting.ranks);
  for (unsigned p = 0; p < ranks; ++p) numbers.push_back((turn / 2 + p) % 4);
  expect_solves(matrix.A, made, way, own_sides<T>(recipe.n, numbers), Sides::spread);
  const auto common = common_sides<T>(recipe.n, way.setting.ranks, 1 + turn / 3 % 3);
  expect_solves(matrix.A, made, way, common, Sides::replicated);
}

template <class P>
class FactorProgram : public jaxmg::testing::KindTest<typename P::Kind> {};
TYPED_TEST_SUITE(FactorProgram, jaxmg::testing::OnAllPrograms, jaxmg::testing::KindNames);

template <class P>
class FactorProgramOnCpu : public FactorProgram<P> {};
TYPED_TEST_SUITE(FactorProgramOnCpu, jaxmg::testing::OnCpuPrograms, jaxmg::testing::KindNames);

TYPED_TEST(FactorProgram, SolvesForEverySizeTileAndNumberOfRanks) {
  unsigned turn = 0;
  for (const index_t tile : {1, 5, 16}) {
    for (const index_t n : {index_t{0}, index_t{1}, tile - 1, tile, tile + 1, index_t{37}}) {
      for (const int ranks : {1, 2, 3, 4, 8}) {
        expect_right<TypeParam>({Kind::spd, n, 100, 1}, way_of_turn(ranks, tile, turn), turn);
        ++turn;
      }
    }
  }
}

TYPED_TEST(FactorProgram, SolvesInEveryWay) {
  for (unsigned turn = 0; turn < 8; ++turn) {
    for (const int ranks : {1, 2, 3}) {
      const Way way = way_of_turn(ranks, 7, turn);
      expect_right<TypeParam>({Kind::matern_shuffled, 83, 1e3, 1}, way, turn);
    }
  }
}

/// Where a call that keeps nothing would go to one rank.
TYPED_TEST(FactorProgram, SolvesWithTilesOfTheLibrarysChoice) {
  for (unsigned turn = 0; turn < 8; ++turn) {
    expect_right<TypeParam>({Kind::spd, 70, 100, 1}, way_of_turn(3, 0, turn), turn);
  }
}

/// Storage in the cyclic layout on all ranks, columns of the matrix on the first ones.
TYPED_TEST(FactorProgram, SolvesWhereRanksHaveNoTile) {
  for (unsigned turn = 0; turn < 8; ++turn) {
    Way way = way_of_turn(4, 4, turn);
    way.pad = 6;
    expect_right<TypeParam>({Kind::spd, 7, 100, 1}, way, turn);
  }
}

TYPED_TEST(FactorProgram, TakesAnyNumberOfRightHandSides) {
  using T = typename TypeParam::type;
  const index_t n = 45;
  const HostMatrix<T> M = make_matrix<T>({Kind::spd, n, 100, 1}).A;
  for (const bool direct : {false, true}) {
    const Way way{{3, 8, direct}, false, !direct, 0};
    SCOPED_TRACE(way);
    auto made = factor<TypeParam>(M, way);
    for (const Sides sides : all_sides) {
      for (const index_t number : {0, 1, 17, 50}) {
        expect_solves(M, made, way, common_sides<T>(n, way.setting.ranks, number), sides);
      }
    }
    for (const auto& numbers : {std::vector<index_t>{0, 50, 1}, {50, 0, 0}, {0, 0, 1}}) {
      expect_solves(M, made, way, own_sides<T>(n, numbers), Sides::spread);
    }
  }
}

/// Products with an ill-conditioned tile's inverse lose digits where they are not refined. That
/// shows where x is no larger than b: an x of A's smallest eigenvectors would hide it.
TYPED_TEST(FactorProgram, HasASmallResidualUpToTheHighestCondition) {
  using T = typename TypeParam::type;
  const index_t n = 150;
  for (const Kind kind : {Kind::clustered, Kind::rbf_sorted, Kind::matern_sorted}) {
    const double kappa = std::min(1e14, highest_kappa(kind, jaxmg::dtype_of<T>()));
    const HostMatrix<T> M = make_matrix<T>({kind, n, kappa, 1}).A;
    const HostMatrix<T> b = negative_product(transposed(M), random_matrix<T>(n, 2, 1));
    for (const int ranks : {1, 3}) {
      const Way way{{ranks, n, ranks == 1}, true, true, 0};
      SCOPED_TRACE(::testing::Message() << to_string(kind) << ", " << way);
      auto made = factor<TypeParam>(M, way);
      for (const Sides sides : all_sides) {
        expect_solves(M, made, way, {static_cast<std::size_t>(ranks), b}, sides);
      }
    }
  }
}

TYPED_TEST(FactorProgramOnCpu, SolvesUnderChaos) {
  for (unsigned seed = 1; seed <= 6; ++seed) {
    jaxmg::set_cpu_chaos(seed, 300);
    expect_right<TypeParam>({Kind::spd, 40, 100, seed}, way_of_turn(3, 5, seed), seed);
    expect_right<TypeParam>({Kind::spd, 31, 100, seed}, way_of_turn(4, 3, seed + 3), seed);
  }
}

TYPED_TEST(FactorProgram, TellsAMatrixThatIsNotPositiveDefinite) {
  using T = typename TypeParam::type;
  const index_t n = 29;
  for (const Kind kind : {Kind::indefinite, Kind::nan}) {
    for (unsigned turn = 0; turn < 8; ++turn) {
      const TestMatrix<T> matrix = make_matrix<T>({kind, n, 100, turn + 1});
      const Way way = way_of_turn(1 + static_cast<int>(turn + turn / 4) % 4, 5, turn);
      SCOPED_TRACE(::testing::Message() << to_string(kind) << turn + 1 << ", " << way);
      auto made = factor<TypeParam>(matrix.A, way);
      for (const std::int32_t info : made.info) EXPECT_EQ(info, matrix.first_failure);
      for (const real_t<T> logdet : made.logdet) EXPECT_TRUE(std::isnan(logdet));
      const auto b = common_sides<T>(n, way.setting.ranks, 2);
      for (const Sides sides : all_sides) {
        for (const HostMatrix<T>& x : solve(made, way, b, sides)) expect_nan(x);
      }
    }
  }
}

}  // namespace
