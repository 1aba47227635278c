// The panel of a Cholesky step by block substitution, which GPUs use, on the CPU's operations.
#include <cmath>
#include <thread>

#include <gtest/gtest.h>

#include "algorithms/cholesky/panel.hpp"
#include "api/potrs_program.hpp"
#include "device/cpu/backend.hpp"
#include "jaxmg/matrix.hpp"
#include "testing/matrices.hpp"
#include "testing/reference_cholesky.hpp"
#include "testing/residuals.hpp"

namespace {

using jaxmg::conjugate;
using jaxmg::index_t;
using jaxmg::Op;
using jaxmg::real_t;
using jaxmg::cpu::Backend;
using namespace jaxmg_testing;

template <class T>
class Panel : public ::testing::Test {
 protected:
  void SetUp() override { jaxmg::cpu::set_permits(2); }
};
using Scalars = ::testing::Types<float, double, std::complex<float>, std::complex<double>>;
TYPED_TEST_SUITE(Panel, Scalars);

/// Close to where a Cholesky factorisation must still succeed.
template <jaxmg::Scalar T>
constexpr double high_kappa = sizeof(real_t<T>) == sizeof(double) ? 1e13 : 1e7;

/// W with W L11^H = A21, where [A11; A21] are the first columns of a matrix and A11 = L11 L11^H.
template <jaxmg::Scalar T>
struct Problem {
  HostMatrix<T> L11;
  HostMatrix<T> A21;

  Problem(Kind kind, double kappa, index_t rows, index_t width)
      : L11(width, width), A21(rows, width) {
    const HostMatrix<T> A = make_matrix<T>({kind, rows + width, kappa, 1}).A;
    for (index_t j = 0; j < width; ++j) {
      for (index_t i = 0; i < width; ++i) L11(i, j) = A(i, j);
      for (index_t i = 0; i < rows; ++i) A21(i, j) = A(width + i, j);
    }
    EXPECT_EQ(reference_cholesky(L11), 0);
  }
};

template <jaxmg::Scalar T>
double frobenius_norm(const HostMatrix<T>& A) {
  double sum = 0;
  for (const T& entry : A.values()) sum += std::norm(entry);
  return std::sqrt(sum);
}

/// ||A21 - W L11^H||_F / (eps ||W||_F ||L11||_F). In this norm trsm stays below 2 for every width
/// tried here, a factor of T better than what is proved for it.
template <jaxmg::Scalar T>
double residual(const Problem<T>& problem, const HostMatrix<T>& W) {
  HostMatrix<T> R = problem.A21;
  for (index_t j = 0; j < W.cols(); ++j) {
    for (index_t k = 0; k <= j; ++k) {
      const T l = conjugate(problem.L11(j, k));
      for (index_t i = 0; i < R.rows(); ++i) R(i, j) -= W(i, k) * l;
    }
  }
  const double eps = std::numeric_limits<real_t<T>>::epsilon();
  return frobenius_norm(R) / (eps * frobenius_norm(W) * frobenius_norm(problem.L11));
}

constexpr double bound = 3;

/// L11 as potrf leaves it: above the diagonal there may be anything.
template <jaxmg::Scalar T>
HostMatrix<T> with_nan_above(HostMatrix<T> L) {
  for (index_t j = 0; j < L.cols(); ++j) std::fill_n(&L(0, j), j, quiet_nan<T>());
  return L;
}

template <jaxmg::Scalar T>
HostMatrix<T> by_block_substitution(const Problem<T>& problem) {
  const index_t rows = problem.A21.rows(), width = problem.A21.cols();
  const index_t s = jaxmg::substitution_block;
  const HostMatrix<T> L11 = with_nan_above(problem.L11);
  HostMatrix<T> W = problem.A21, lower(width, width), inverses(s, width), solution(rows, s);
  jaxmg::cpu::Queue queue(jaxmg::Priority::normal);
  const jaxmg::SubstitutionWork<T> work{lower.view(), inverses.view(), solution.view()};
  jaxmg::prepare_substitution<Backend, T>(queue, L11.view(), work);
  jaxmg::block_substitution<Backend, T>(queue, W.view(), work);
  queue.synchronize();
  return W;
}

template <jaxmg::Scalar T>
HostMatrix<T> by_trsm(const Problem<T>& problem) {
  const HostMatrix<T> L11 = with_nan_above(problem.L11);
  HostMatrix<T> W = problem.A21;
  jaxmg::cpu::Queue queue(jaxmg::Priority::normal);
  Backend::trsm<T>(queue, jaxmg::Side::right, Op::conj_trans, L11.view(), W.view());
  queue.synchronize();
  return W;
}

/// W = A21 X^H with X = L11^-1: what must not be done.
template <jaxmg::Scalar T>
HostMatrix<T> by_inverse(const Problem<T>& problem) {
  const index_t width = problem.A21.cols();
  HostMatrix<T> X(width, width), W(problem.A21.rows(), width);
  jaxmg::cpu::Queue queue(jaxmg::Priority::normal);
  Backend::invert_diagonal_blocks<T>(queue, problem.L11.view(), width, X.view());
  Backend::gemm<T>(queue, Op::none, Op::conj_trans, T(1), problem.A21.view(), X.view(), T(0),
                   W.view());
  queue.synchronize();
  return W;
}

constexpr index_t widths[] = {1, 127, 128, 129, 300};

TYPED_TEST(Panel, IsBackwardStableOnAWellConditionedTile) {
  for (const index_t width : widths) {
    SCOPED_TRACE(::testing::Message() << "T = " << width);
    const Problem<TypeParam> problem(Kind::spd, 10, 40, width);
    EXPECT_LT(residual(problem, by_trsm(problem)), bound);
    EXPECT_LT(residual(problem, by_block_substitution(problem)), bound);
  }
}

TYPED_TEST(Panel, IsBackwardStableOnASortedKernel) {
  using T = TypeParam;
  for (const Kind kind : {Kind::rbf_sorted, Kind::matern_sorted}) {
    for (const index_t width : widths) {
      SCOPED_TRACE(::testing::Message() << to_string(kind) << ", T = " << width);
      const Problem<T> problem(kind, high_kappa<T>, 40, width);
      EXPECT_LT(residual(problem, by_trsm(problem)), bound);
      EXPECT_LT(residual(problem, by_block_substitution(problem)), bound);
    }
  }
}

TYPED_TEST(Panel, AnUnrefinedInverseMissesTheBound) {
  using T = TypeParam;
  for (const index_t width : {128, 300}) {
    const Problem<T> problem(Kind::matern_sorted, high_kappa<T>, 40, width);
    EXPECT_GT(residual(problem, by_inverse(problem)), 2 * bound) << "T = " << width;
  }
}

TYPED_TEST(Panel, OfNoRowsIsNothing) {
  const Problem<TypeParam> problem(Kind::spd, 10, 0, 5);
  EXPECT_EQ(by_block_substitution(problem).rows(), 0);
}

/// The CPU, with the panel method of a GPU.
struct SubstitutingBackend : Backend {
  static constexpr auto panel_method = jaxmg::PanelMethod::block_substitution;
};
static_assert(jaxmg::Backend<SubstitutingBackend>);

/// Factors `matrix` in place, on a thread a rank; returns info of each rank.
template <jaxmg::Scalar T>
std::vector<std::int32_t> factor_by_substitution(const jaxmg::DistributedMatrix<T>& matrix,
                                                 index_t tile) {
  using B = SubstitutingBackend;
  const int ranks = matrix.team().size();
  const bool direct = matrix.team().options().reads_peers_directly;
  const jaxmg::CholeskyProblem problem{matrix.columns(), matrix.order(), ranks, tile, 0, true};
  const jaxmg::BackendTraits traits{B::panel_method, direct};
  const std::size_t bytes = jaxmg::CholeskyWorkspace<T>::bytes(problem, traits);
  std::vector<std::vector<std::byte>> workspaces(static_cast<std::size_t>(ranks),
                                                 std::vector<std::byte>(bytes));
  std::vector<std::int32_t> info(static_cast<std::size_t>(ranks), -1);
  std::vector<std::exception_ptr> failures(info.size());

  jaxmg::TeamCall<B> team(ranks, {direct, std::chrono::seconds(60)});
  const jaxmg::RankProgram<B> program = [&](jaxmg::Rank<B>& rank) {
    const auto index = static_cast<std::size_t>(rank.index());
    jaxmg::Arena arena(workspaces[index].data());
    const auto work = jaxmg::CholeskyWorkspace<T>::carve(arena, problem, traits);
    const MatrixView<T> M =
        jaxmg::distribute<B, T>(rank, problem, matrix.shard(rank.index()), work);
    jaxmg::factor_matrix<B, T>(rank, problem, M, work);
    jaxmg::agree_on_outcome<B, T>(rank, work.scalars, &info[index], nullptr);
  };
  std::vector<std::thread> threads;
  for (int p = 0; p < ranks; ++p) {
    threads.emplace_back([&, p] {
      jaxmg::cpu::Device device;
      failures[static_cast<std::size_t>(p)] = jaxmg::run_rank<B>(team, p, device, program);
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const std::exception_ptr& failure : failures) EXPECT_EQ(failure, nullptr);
  return info;
}

template <jaxmg::Scalar T>
void expect_factors_by_substitution(const HostMatrix<T>& A, int ranks, index_t tile,
                                    bool reads_peers_directly) {
  jaxmg::CpuTeamOptions options;
  options.reads_peers_directly = reads_peers_directly;
  const jaxmg::DistributedMatrix<T> matrix(jaxmg::Team::cpu(ranks, options), A.cols());
  distribute_lower(A, matrix);
  for (const std::int32_t info : factor_by_substitution(matrix, tile)) EXPECT_EQ(info, 0);

  const jaxmg::BlockCyclic layout(matrix.columns(), ranks, tile, matrix.order());
  HostMatrix<T> L(A.rows(), A.cols());
  for (index_t j = 0; j < A.cols(); ++j) {
    const jaxmg::ColumnPlace place = layout.cyclic_place(j);
    std::copy_n(&matrix.shard(place.rank)(j, place.local), A.rows() - j, &L(j, j));
  }
  EXPECT_LT(factor_residual(A, L), 1);
}

TYPED_TEST(Panel, FactorsASortedKernel) {
  using T = TypeParam;
  const HostMatrix<T> A = make_matrix<T>({Kind::rbf_sorted, 330, high_kappa<T>, 1}).A;
  expect_factors_by_substitution(A, 2, 165, true);  // one sub-block and a bit
  expect_factors_by_substitution(A, 2, 70, false);
  expect_factors_by_substitution(A, 3, 110, false);
}

TYPED_TEST(Panel, SlowFactorsSortedKernelsOfEveryCondition) {
  using T = TypeParam;
  for (const Kind kind : {Kind::rbf_sorted, Kind::matern_sorted}) {
    for (const double kappa : {1e3, 1e6, highest_kappa(kind, jaxmg::dtype_of<T>())}) {
      SCOPED_TRACE(::testing::Message() << to_string(kind) << ", kappa = " << kappa);
      const HostMatrix<T> A = make_matrix<T>({kind, 620, kappa, 1}).A;
      expect_factors_by_substitution(A, 2, 310, false);
    }
  }
}

}  // namespace
