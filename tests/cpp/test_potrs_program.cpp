// The rank program behind potrs as every front end runs it: with both panel methods (the CPU's, and
// the GPUs' on either kind of device), in place and not, on all ranks and on one, in one memory and
// in several.
#include <gtest/gtest.h>

#include "api/potrs_program.hpp"
#include "jaxmg/matrix.hpp"
#include "kinds.hpp"
#include "testing/host_matrix.hpp"
#include "testing/matrices.hpp"
#include "testing/residuals.hpp"

namespace {

using jaxmg::conjugate;
using jaxmg::index_t;
using jaxmg::MatrixView;
using jaxmg::real_t;
using jaxmg::testing::Shared;
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

template <jaxmg::Scalar T>
struct Outcome {
  std::vector<HostMatrix<T>> X;  ///< of each rank, n x rhs
  std::vector<std::int32_t> info;
  std::vector<real_t<T>> logdet;
};

/// Runs the program on a kind of device. Right-hand sides are rows inside: X^T = B^T M^-1.
template <class Kind, jaxmg::Scalar T>
Outcome<T> solve(const HostMatrix<T>& A, const HostMatrix<T>& rhs, const Case& c) {
  using B = typename Kind::Backend;
  const Setting setting{c.ranks, c.tile, c.reads_peers_directly};
  jaxmg::DistributedMatrix<T> matrix(Kind::team(setting), c.n);
  distribute_lower(A, matrix);
  const jaxmg::CholeskyProblem problem{matrix.columns(), c.n,          c.ranks, c.tile, c.rhs,
                                       c.in_place,       c.on_one_rank};

  HostMatrix<T> transposed(c.rhs, c.n);
  for (index_t j = 0; j < c.n; ++j) {
    for (index_t i = 0; i < c.rhs; ++i) transposed(i, j) = rhs(j, i);
  }
  Shared<Kind, T> rows(transposed);
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
  Outcome<T> out{{}, {info.begin(), info.end()}, {logdet.begin(), logdet.end()}};
  for (const Shared<Kind, T>& shared : X) {
    const HostMatrix<T> x = shared.host();
    HostMatrix<T> columns(c.n, c.rhs);
    for (index_t j = 0; j < c.n; ++j) {
      for (index_t i = 0; i < c.rhs; ++i) columns(j, i) = x(i, j);
    }
    out.X.push_back(std::move(columns));
  }
  return out;
}

template <class P>
class PotrsProgram : public jaxmg::testing::KindTest<typename P::Kind> {
 protected:
  /// The program solves A^T x = b in this storage: M = A^T is what JAX's A is here.
  static void expect_solves(const Case& c, unsigned seed) {
    using T = typename P::type;
    SCOPED_TRACE(::testing::Message() << c);
    const HostMatrix<T> M = make_matrix<T>({Kind::spd, c.n, 1e3, seed}).A;
    HostMatrix<T> A(c.n, c.n);
    for (index_t j = 0; j < c.n; ++j) {
      for (index_t i = 0; i < c.n; ++i) A(i, j) = M(j, i);
    }
    const HostMatrix<T> b = random_matrix<T>(c.n, c.rhs, seed + 1);
    const Outcome<T> out = solve<typename P::Kind, T>(M, b, c);
    for (std::size_t p = 0; p < out.X.size(); ++p) {
      EXPECT_EQ(out.info[p], 0);
      EXPECT_EQ(out.logdet[p], out.logdet[0]);
      EXPECT_LT(solve_residual(A, out.X[p], b), 10);
    }
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
    const Outcome<T> out = solve<typename TypeParam::Kind, T>(M, b, c);
    for (std::size_t p = 0; p < out.X.size(); ++p) {
      EXPECT_EQ(out.info[p], 18);
      EXPECT_TRUE(std::isnan(out.logdet[p]));
      for (const T& x : out.X[p].values()) EXPECT_TRUE(std::isnan(jaxmg::real_part(x)));
    }
  }
}

}  // namespace
