// The panel of a Cholesky step by block substitution, which GPUs use, on either kind of device.
#include <cmath>

#include <gtest/gtest.h>

#include "algorithms/cholesky/panel.hpp"
#include "api/potrs_program.hpp"
#include "jaxmg/matrix.hpp"
#include "kinds.hpp"
#include "testing/matrices.hpp"
#include "testing/reference_cholesky.hpp"
#include "testing/residuals.hpp"

namespace {

using jaxmg::conjugate;
using jaxmg::index_t;
using jaxmg::Op;
using jaxmg::real_t;
using jaxmg::testing::Setting;
using jaxmg::testing::Shared;
using namespace jaxmg_testing;

template <class P>
class Panel : public jaxmg::testing::KindTest<typename P::Kind> {
 protected:
  void SetUp() override {
    jaxmg::testing::KindTest<typename P::Kind>::SetUp();
    jaxmg::cpu::set_permits(2);
  }
};
TYPED_TEST_SUITE(Panel, jaxmg::testing::OnSubstitutingKinds, jaxmg::testing::KindNames);

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

/// What work(queue) gives on a device of this kind.
template <class Kind, class Work>
void run_on_queue(const Work& work) {
  const auto device = Kind::device();
  typename Kind::Backend::Queue queue(*device, jaxmg::Priority::normal);
  work(queue);
  queue.synchronize();
}

template <class Kind, jaxmg::Scalar T>
HostMatrix<T> by_block_substitution(const Problem<T>& problem, index_t s) {
  const index_t rows = problem.A21.rows(), width = problem.A21.cols();
  using B = typename Kind::Backend;
  Shared<Kind, T> L11(with_nan_above(problem.L11)), W(problem.A21), lower(width, width),
      inverses(s, width), solution(rows, width);
  run_on_queue<Kind>([&](auto& queue) {
    const jaxmg::SubstitutionWork<T> work{lower.view(), inverses.view(), solution.view()};
    jaxmg::prepare_substitution<B, T>(queue, L11.view(), work);
    jaxmg::block_substitution<B, T>(queue, W.view(), work);
  });
  return W.host();
}

/// LAPACK's own way, on the CPU.
template <jaxmg::Scalar T>
HostMatrix<T> by_trsm(const Problem<T>& problem) {
  using Cpu = jaxmg::testing::Cpu;
  const HostMatrix<T> L11 = with_nan_above(problem.L11);
  HostMatrix<T> W = problem.A21;
  run_on_queue<Cpu>([&](auto& queue) {
    Cpu::Backend::trsm<T>(queue, jaxmg::Side::right, Op::conj_trans, L11.view(), W.view());
  });
  return W;
}

/// W = A21 X^H with X = L11^-1: what must not be done.
template <class Kind, jaxmg::Scalar T>
HostMatrix<T> by_inverse(const Problem<T>& problem) {
  using B = typename Kind::Backend;
  const index_t width = problem.A21.cols();
  Shared<Kind, T> L11(problem.L11), A21(problem.A21), X(width, width), W(A21.view().rows, width);
  run_on_queue<Kind>([&](auto& queue) {
    B::template invert_diagonal_blocks<T>(queue, L11.view(), width, X.view());
    B::template gemm<T>(queue, Op::none, Op::conj_trans, T(1), A21.view(), X.view(), T(0),
                        W.view());
  });
  return W.host();
}

constexpr index_t widths[] = {1, 127, 128, 129, 257, 300};

TYPED_TEST(Panel, IsBackwardStableOnAWellConditionedTile) {
  for (const index_t width : widths) {
    SCOPED_TRACE(::testing::Message() << "T = " << width);
    const Problem<typename TypeParam::type> problem(Kind::spd, 10, 40, width);
    EXPECT_LT(residual(problem, by_trsm(problem)), bound);
    for (const index_t s : {128, 256}) {
      EXPECT_LT(residual(problem, by_block_substitution<typename TypeParam::Kind>(problem, s)),
                bound);
    }
  }
}

TYPED_TEST(Panel, IsBackwardStableOnASortedKernel) {
  using T = typename TypeParam::type;
  for (const Kind kind : {Kind::rbf_sorted, Kind::matern_sorted}) {
    for (const index_t width : widths) {
      SCOPED_TRACE(::testing::Message() << to_string(kind) << ", T = " << width);
      const Problem<T> problem(kind, high_kappa<T>, 40, width);
      EXPECT_LT(residual(problem, by_trsm(problem)), bound);
      for (const index_t s : {128, 256}) {
        EXPECT_LT(residual(problem, by_block_substitution<typename TypeParam::Kind>(problem, s)),
                  bound);
      }
    }
  }
}

TYPED_TEST(Panel, AnUnrefinedInverseMissesTheBound) {
  using T = typename TypeParam::type;
  for (const index_t width : {128, 300}) {
    const Problem<T> problem(Kind::matern_sorted, high_kappa<T>, 40, width);
    EXPECT_GT(residual(problem, by_inverse<typename TypeParam::Kind>(problem)), 2 * bound)
        << "T = " << width;
  }
}

TYPED_TEST(Panel, OfNoRowsIsNothing) {
  const Problem<typename TypeParam::type> problem(Kind::spd, 10, 0, 5);
  EXPECT_EQ(by_block_substitution<typename TypeParam::Kind>(problem, 128).rows(), 0);
}

/// Factors A on a kind of device, from storage that is NaN wherever it must not be read.
template <class Kind, jaxmg::Scalar T>
void expect_factors_by_substitution(const HostMatrix<T>& A, const Setting& setting) {
  using B = typename Kind::Backend;
  jaxmg::DistributedMatrix<T> matrix(Kind::team(setting), A.cols());
  distribute_lower(A, matrix);
  const jaxmg::CholeskyProblem problem{
      matrix.columns(), matrix.order(), setting.ranks, setting.tile, 0, true};
  const auto ranks = static_cast<std::size_t>(setting.ranks);
  std::vector<typename Kind::template Vector<std::byte>> workspaces(ranks);
  typename Kind::template Vector<std::int32_t> info(ranks, -1);

  Kind::run(setting, [&](jaxmg::Rank<B>& rank) {
    const auto index = static_cast<std::size_t>(rank.index());
    const jaxmg::BackendTraits traits = jaxmg::traits_of(rank);
    workspaces[index].resize(jaxmg::CholeskyWorkspace<T>::bytes(problem, traits));
    jaxmg::Arena arena(workspaces[index].data());
    const auto work = jaxmg::CholeskyWorkspace<T>::carve(arena, problem, traits);
    const MatrixView<T> M = jaxmg::distribute<B, T>(rank, problem, matrix.shard(rank.index()),
                                                    {work.matrix, work.staging});
    jaxmg::factor_matrix<B, T>(rank, problem, M, work);
    jaxmg::agree_on_outcome<B, T>(rank, work.scalars, &info[index], nullptr);
  });
  for (const std::int32_t of_rank : info) EXPECT_EQ(of_rank, 0);

  HostMatrix<T> cyclic(matrix.columns(), matrix.columns()), L(A.rows(), A.cols());
  matrix.read(0, 0, cyclic.view());
  const jaxmg::BlockCyclic layout(matrix.columns(), setting.ranks, setting.tile, matrix.order());
  for (index_t j = 0; j < A.cols(); ++j) {
    const jaxmg::ColumnPlace place = layout.cyclic_place(j);
    std::copy_n(&cyclic(j, place.rank * layout.local_columns() + place.local), A.rows() - j,
                &L(j, j));
  }
  EXPECT_LT(factor_residual(A, L), 1);
}

TYPED_TEST(Panel, FactorsASortedKernel) {
  using T = typename TypeParam::type;
  using Kind_ = typename TypeParam::Kind;
  const HostMatrix<T> A = make_matrix<T>({Kind::rbf_sorted, 330, high_kappa<T>, 1}).A;
  expect_factors_by_substitution<Kind_>(A, {2, 165, true});  // one sub-block and a bit
  expect_factors_by_substitution<Kind_>(A, {2, 70, false});
  expect_factors_by_substitution<Kind_>(A, {3, 110, false});
}

TYPED_TEST(Panel, SlowFactorsSortedKernelsOfEveryCondition) {
  using T = typename TypeParam::type;
  using Kind_ = typename TypeParam::Kind;
  for (const Kind kind : {Kind::rbf_sorted, Kind::matern_sorted}) {
    for (const double kappa : {1e3, 1e6, highest_kappa(kind, jaxmg::dtype_of<T>())}) {
      SCOPED_TRACE(::testing::Message() << to_string(kind) << ", kappa = " << kappa);
      const HostMatrix<T> A = make_matrix<T>({kind, 620, kappa, 1}).A;
      expect_factors_by_substitution<Kind_>(A, {2, 310, false});
    }
  }
}

}  // namespace
