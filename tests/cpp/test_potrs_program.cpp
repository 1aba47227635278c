// The rank program behind potrs as every front end runs it: with both panel methods (the CPU's and
// the GPUs'), in place and not, on all ranks and on one, in one memory and in several.
#include <thread>

#include <gtest/gtest.h>

#include "api/potrs_program.hpp"
#include "device/cpu/backend.hpp"
#include "jaxmg/matrix.hpp"
#include "jaxmg/team.hpp"
#include "testing/host_matrix.hpp"
#include "testing/matrices.hpp"
#include "testing/residuals.hpp"

namespace {

using jaxmg::conjugate;
using jaxmg::index_t;
using jaxmg::MatrixView;
using jaxmg::real_t;
using namespace jaxmg_testing;

/// The CPU, with the panel method and the diagonal solves of a GPU.
struct SubstitutingBackend : jaxmg::cpu::Backend {
  static constexpr auto panel_method = jaxmg::PanelMethod::block_substitution;
};

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

/// Runs the program on a thread a rank. Right-hand sides are rows inside: X^T = B^T M^-1.
template <class B, jaxmg::Scalar T>
Outcome<T> solve(const HostMatrix<T>& A, const HostMatrix<T>& rhs, const Case& c) {
  const jaxmg::Team team = jaxmg::Team::cpu(c.ranks);
  jaxmg::DistributedMatrix<T> matrix(team, c.n);
  distribute_lower(A, matrix);
  const jaxmg::CholeskyProblem problem{matrix.columns(), c.n,          c.ranks, c.tile, c.rhs,
                                       c.in_place,       c.on_one_rank};
  const jaxmg::BackendTraits traits{B::panel_method, c.reads_peers_directly};
  const std::size_t bytes = jaxmg::CholeskyWorkspace<T>::bytes(problem, traits);

  HostMatrix<T> rows(c.rhs, c.n);
  for (index_t j = 0; j < c.n; ++j) {
    for (index_t i = 0; i < c.rhs; ++i) rows(i, j) = rhs(j, i);
  }
  const auto count = static_cast<std::size_t>(c.ranks);
  std::vector<HostMatrix<T>> X(count, HostMatrix<T>(c.rhs, c.n));
  std::vector<std::vector<std::byte>> workspaces(count, std::vector<std::byte>(bytes));
  Outcome<T> out{{}, std::vector<std::int32_t>(count), std::vector<real_t<T>>(count)};

  jaxmg::TeamCall<B> call(c.ranks, {c.reads_peers_directly, std::chrono::seconds(60)});
  const jaxmg::RankProgram<B> program = [&](jaxmg::Rank<B>& rank) {
    const auto p = static_cast<std::size_t>(rank.index());
    jaxmg::potrs_program<B, T>(rank, problem,
                               {matrix.shard(rank.index()), rows.view(), X[p].view(),
                                &out.logdet[p], &out.info[p], workspaces[p].data()});
  };
  std::vector<std::exception_ptr> failures(count);
  std::vector<std::thread> threads;
  for (std::size_t p = 0; p < count; ++p) {
    threads.emplace_back([&, p] {
      jaxmg::cpu::Device device;
      failures[p] = jaxmg::run_rank<B>(call, static_cast<int>(p), device, program);
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const std::exception_ptr& failure : failures) EXPECT_EQ(failure, nullptr);
  for (const HostMatrix<T>& x : X) {
    HostMatrix<T> columns(c.n, c.rhs);
    for (index_t j = 0; j < c.n; ++j) {
      for (index_t i = 0; i < c.rhs; ++i) columns(j, i) = x(i, j);
    }
    out.X.push_back(std::move(columns));
  }
  return out;
}

template <class T>
class PotrsProgram : public ::testing::Test {
 protected:
  void SetUp() override { jaxmg::cpu::set_permits(2); }
  void TearDown() override { jaxmg::set_cpu_chaos(0); }

  /// The program solves A^T x = b in this storage: M = A^T is what JAX's A is here.
  static void expect_solves(const Case& c, unsigned seed) {
    SCOPED_TRACE(::testing::Message() << c);
    const HostMatrix<T> M = make_matrix<T>({Kind::spd, c.n, 1e3, seed}).A;
    HostMatrix<T> A(c.n, c.n);
    for (index_t j = 0; j < c.n; ++j) {
      for (index_t i = 0; i < c.n; ++i) A(i, j) = M(j, i);
    }
    const HostMatrix<T> b = random_matrix<T>(c.n, c.rhs, seed + 1);
    const auto check = [&](const Outcome<T>& out) {
      for (std::size_t p = 0; p < out.X.size(); ++p) {
        EXPECT_EQ(out.info[p], 0);
        EXPECT_EQ(out.logdet[p], out.logdet[0]);
        EXPECT_LT(solve_residual(A, out.X[p], b), 10);
      }
    };
    check(solve<jaxmg::cpu::Backend, T>(M, b, c));
    check(solve<SubstitutingBackend, T>(M, b, c));
  }
};
using Scalars = ::testing::Types<float, double, std::complex<float>, std::complex<double>>;
TYPED_TEST_SUITE(PotrsProgram, Scalars);

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

TYPED_TEST(PotrsProgram, SolvesUnderChaos) {
  for (unsigned seed = 1; seed <= 6; ++seed) {
    jaxmg::set_cpu_chaos(seed, 300);
    this->expect_solves({3, 40, 5, 2, seed % 2 == 0, false, seed % 3 == 0}, seed);
    this->expect_solves({4, 30, 5, 2, seed % 2 == 0, true, seed % 3 == 0}, seed);
  }
}

TYPED_TEST(PotrsProgram, TellsAMatrixThatIsNotPositiveDefinite) {
  using T = TypeParam;
  for (const bool on_one_rank : {false, true}) {
    const Case c{3, 40, 5, 2, false, on_one_rank, false};
    HostMatrix<T> M = make_matrix<T>({Kind::spd, c.n, 10, 1}).A;
    M(17, 17) = T(-1);
    const HostMatrix<T> b = random_matrix<T>(c.n, c.rhs, 2);
    for (const Outcome<T>& out :
         {solve<jaxmg::cpu::Backend, T>(M, b, c), solve<SubstitutingBackend, T>(M, b, c)}) {
      for (std::size_t p = 0; p < out.X.size(); ++p) {
        EXPECT_EQ(out.info[p], 18);
        EXPECT_TRUE(std::isnan(out.logdet[p]));
        for (const T& x : out.X[p].values()) EXPECT_TRUE(std::isnan(jaxmg::real_part(x)));
      }
    }
  }
}

}  // namespace
