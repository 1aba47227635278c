// The rank program behind potrs as every front end runs it: with both panel methods (the CPU's, and
// the GPUs' on either kind of device), in place and not, on all ranks and on one, in one memory and
// in several.
#include <gtest/gtest.h>

#include "api/potrs_program.hpp"
#include "jaxmg/matrix.hpp"
#include "solutions.hpp"
#include "testing/matrices.hpp"

namespace {

using jaxmg::conjugate;
using jaxmg::index_t;
using jaxmg::MatrixView;
using jaxmg::real_t;
using jaxmg::testing::expect_nan;
using jaxmg::testing::expect_solutions;
using jaxmg::testing::Shared;
using jaxmg::testing::solved;
using jaxmg::testing::Solved;
using jaxmg::testing::transposed;
using namespace jaxmg_testing;

struct Case {
  int ranks;
  index_t n;
  index_t tile;
  index_t rhs;
  bool in_place;
  bool on_one_rank;
  bool reads_peers_directly;
};

std::ostream& operator<<(std::ostream& out, const Case& c) {
  return out << "P = " << c.ranks << ", n = " << c.n << ", T = " << c.tile << ", " << c.rhs
             << " rhs, in place " << c.in_place << ", one rank " << c.on_one_rank << ", direct "
             << c.reads_peers_directly;
}

/// Runs the program on a kind of device. Right-hand sides are rows inside: X^T = B^T M^-1.
template <class Kind, jaxmg::Scalar T>
Solved<T> solve(const HostMatrix<T>& A, const HostMatrix<T>& rhs, const Case& c) {
  using B = typename Kind::Backend;
  const Setting setting{c.ranks, c.tile, c.reads_peers_directly};
  jaxmg::DistributedMatrix<T> matrix(Kind::team(setting), c.n);
  distribute_lower(A, matrix);
  const jaxmg::CholeskyProblem problem{matrix.columns(), c.n,          c.ranks, c.tile, c.rhs,
                                       c.in_place,       c.on_one_rank};

  Shared<Kind, T> rows(transposed(rhs));
  const auto count = static_cast<std::size_t>(c.ranks);
  std::vector<Shared<Kind, T>> X(count, Shared<Kind, T>(c.rhs, c.n));
  typename Kind::template Vector<std::int32_t> info(count);
  typename Kind::template Vector<real_t<T>> logdet(count);
  std::vector<typename Kind::template Vector<std::byte>> workspaces(count);

  Kind::run(setting, [&](jaxmg::Rank<B>& rank) {
    const auto p = static_cast<std::size_t>(rank.index());
    workspaces[p].resize(jaxmg::CholeskyWorkspace<T>::bytes(problem, jaxmg::traits_of(rank)));
    jaxmg::potrs_program<B, T>(rank, problem,
                               {matrix.shard(rank.index()), rows.view(), X[p].view(), &logdet[p],
                                &info[p], workspaces[p].data()});
  });
  return solved(X, info, logdet);
}

template <class P>
class PotrsProgram : public jaxmg::testing::KindTest<typename P::Kind> {
 protected:
  static void expect_solves(const Case& c, unsigned seed) {
    using T = typename P::type;
    SCOPED_TRACE(::testing::Message() << c);
    const HostMatrix<T> M = make_matrix<T>({Kind::spd, c.n, 1e3, seed}).A;
    const HostMatrix<T> b = random_matrix<T>(c.n, c.rhs, seed + 1);
    expect_solutions(M, b, solve<typename P::Kind, T>(M, b, c));
  }
};
TYPED_TEST_SUITE(PotrsProgram, jaxmg::testing::OnAllPrograms, jaxmg::testing::KindNames);

template <class P>
class PotrsProgramOnCpu : public PotrsProgram<P> {};
TYPED_TEST_SUITE(PotrsProgramOnCpu, jaxmg::testing::OnCpuPrograms, jaxmg::testing::KindNames);

TYPED_TEST(PotrsProgram, Solves) {
  for (const int ranks : {1, 2, 3, 4}) {
    for (const index_t n : {1, 7, 40, 150}) {
      for (const bool in_place : {false, true}) {
        for (const bool direct : {false, true}) {
          this->expect_solves({ranks, n, 16, 1, in_place, false, direct}, 1);
          this->expect_solves({ranks, n, 160, 3, in_place, false, direct}, 2);
        }
      }
    }
  }
}

TYPED_TEST(PotrsProgram, SolvesOnOneRank) {
  for (const int ranks : {1, 2, 3, 8}) {
    for (const index_t n : {1, 7, 40}) {
      for (const bool direct : {false, true}) {
        this->expect_solves({ranks, n, 16, 1, false, true, direct}, 1);
        this->expect_solves({ranks, n, 16, 3, true, true, direct}, 2);
      }
    }
  }
}

TYPED_TEST(PotrsProgramOnCpu, SolvesUnderChaos) {
  for (unsigned seed = 1; seed <= 6; ++seed) {
    jaxmg::set_cpu_chaos(seed, 300);
    this->expect_solves({3, 40, 5, 2, seed % 2 == 0, false, seed % 3 == 0}, seed);
    this->expect_solves({4, 30, 5, 2, seed % 2 == 0, true, seed % 3 == 0}, seed);
  }
}

TYPED_TEST(PotrsProgram, TellsAMatrixThatIsNotPositiveDefinite) {
  using T = typename TypeParam::type;
  for (const bool on_one_rank : {false, true}) {
    const Case c{3, 40, 5, 2, false, on_one_rank, false};
    HostMatrix<T> M = make_matrix<T>({Kind::spd, c.n, 10, 1}).A;
    M(17, 17) = T(-1);
    const HostMatrix<T> b = random_matrix<T>(c.n, c.rhs, 2);
    const Solved<T> out = solve<typename TypeParam::Kind, T>(M, b, c);
    for (std::size_t p = 0; p < out.X.size(); ++p) {
      EXPECT_EQ(out.info[p], 18);
      EXPECT_TRUE(std::isnan(out.logdet[p]));
      expect_nan(out.X[p]);
    }
  }
}

}  // namespace
