// Inverses: of a matrix in one sweep, and of a matrix from its factor; by the public interface, and
// by the rank programs where they can do more: with what GPUs do on CPU ranks, and out of place.
#include <cmath>

#include <gtest/gtest.h>

#include "api/potri_program.hpp"
#include "jaxmg/error.hpp"
#include "jaxmg/potri.hpp"
#include "kinds.hpp"
#include "testing/matrices.hpp"
#include "testing/reference_cholesky.hpp"
#include "testing/residuals.hpp"

namespace {

using jaxmg::conjugate;
using jaxmg::DistributedMatrix;
using jaxmg::index_t;
using jaxmg::real_t;
using jaxmg::testing::factor;
using jaxmg::testing::Substituting;
using namespace jaxmg_testing;

/// The inverse, the first failing minor and log det.
template <jaxmg::Scalar T>
struct Inverse {
  HostMatrix<T> X;
  std::int32_t info;
  real_t<T> logdet;
};

enum class Method { sweep, of_factor };
constexpr Method all_methods[] = {Method::sweep, Method::of_factor};
std::ostream& operator<<(std::ostream& out, Method method) {
  return out << (method == Method::sweep ? "sweep" : "of factor");
}

/// All of a distributed matrix's storage.
template <jaxmg::Scalar T>
HostMatrix<T> storage_of(const DistributedMatrix<T>& matrix) {
  HostMatrix<T> all(matrix.columns(), matrix.columns());
  matrix.read(0, 0, all.view());
  return all;
}

/// The rank program of the sweep, into other storage, which starts as NaN; A must stay as it is.
/// With a tile of 0, on one rank.
template <class P>
Inverse<typename P::type> sweep_out_of_place(const HostMatrix<typename P::type>& A,
                                             const Setting& setting) {
  using T = typename P::type;
  using Kind = typename P::Kind;
  using B = typename Kind::Backend;
  DistributedMatrix<T> matrix(Kind::team(setting), A.cols());
  DistributedMatrix<T> result(Kind::team(setting), A.cols());
  distribute_lower(A, matrix);
  HostMatrix<T> nothing(result.columns(), result.columns());
  std::fill_n(nothing.view().data, nothing.values().size(), quiet_nan<T>());
  result.write(0, 0, nothing.view());

  const index_t tile = std::max<index_t>(1, std::min(setting.tile, matrix.local_columns()));
  const jaxmg::CholeskyProblem problem{matrix.columns(), A.cols(), setting.ranks, tile, 0, false,
                                       setting.tile == 0};
  const auto count = static_cast<std::size_t>(setting.ranks);
  typename Kind::template Vector<std::int32_t> info(count, -1);
  typename Kind::template Vector<real_t<T>> logdet(count);
  std::vector<typename Kind::template Vector<std::byte>> workspaces(count);
  Kind::run(setting, [&](jaxmg::Rank<B>& rank) {
    const int me = rank.index();
    const auto p = static_cast<std::size_t>(me);
    workspaces[p].resize(jaxmg::PotriWorkspace<T>::bytes(problem, jaxmg::traits_of(rank)));
    jaxmg::potri_program<B, T>(
        rank, problem,
        {matrix.shard(me), result.shard(me), &logdet[p], &info[p], workspaces[p].data()});
  });

  const HostMatrix<T> operand = gather(matrix);
  for (index_t j = 0; j < A.cols(); ++j) {
    for (index_t i = j; i < A.cols(); ++i) {
      EXPECT_TRUE(operand(i, j) == A(i, j) || A(i, j) != A(i, j)) << "the operand was changed";
    }
  }
  for (std::size_t p = 1; p < count; ++p) EXPECT_EQ(info[p], info[0]);
  return {gather(result), info[0], logdet[0]};
}

/// The rank program of the inverse of a factor.
template <class P, jaxmg::Scalar T>
HostMatrix<T> inverse_by_program(const jaxmg::CholeskyFactor<T>& L, const Setting& setting) {
  using Kind = typename P::Kind;
  using B = typename Kind::Backend;
  DistributedMatrix<T> result(L.team(), L.order());
  const jaxmg::CholeskyProblem problem{
      L.storage().columns(), L.order(), setting.ranks, L.tile(), 0, true};
  const typename Kind::template Vector<std::int32_t> info(1, L.info());
  std::vector<typename Kind::template Vector<std::byte>> workspaces(
      static_cast<std::size_t>(setting.ranks));
  Kind::run(setting, [&](jaxmg::Rank<B>& rank) {
    const int me = rank.index();
    auto& workspace = workspaces[static_cast<std::size_t>(me)];
    workspace.resize(jaxmg::FactorInverseWorkspace<T>::bytes(problem, jaxmg::traits_of(rank)));
    jaxmg::factor_inverse_program<B, T>(rank, problem, L.storage().shard(me), result.shard(me),
                                        info.data(), workspace.data());
  });
  return gather(result);
}

/// By the public interface; by the programs where it has no such ranks.
template <class P>
Inverse<typename P::type> invert(const HostMatrix<typename P::type>& A, const Setting& setting,
                                 Method method) {
  using T = typename P::type;
  constexpr bool by_program = std::is_same_v<typename P::Kind, Substituting> ||
                              std::is_same_v<typename P::Kind, jaxmg::testing::Processes>;
  if (method == Method::of_factor) {
    const jaxmg::CholeskyFactor<T> L = factor<P>(A, setting);
    if constexpr (by_program) {
      return {inverse_by_program<P, T>(L, setting), L.info(), L.logdet()};
    } else {
      return {gather(jaxmg::inverse(L)), L.info(), L.logdet()};
    }
  }
  if constexpr (by_program) {
    return sweep_out_of_place<P>(A, setting);
  } else {
    DistributedMatrix<T> matrix(P::Kind::team(setting), A.cols());
    distribute_lower(A, matrix);
    const auto result = jaxmg::potri(std::move(matrix), {.tile = setting.tile});
    return {gather(result.inverse), result.info, result.logdet};
  }
}

template <jaxmg::Scalar T>
bool is_hermitian(const HostMatrix<T>& X) {
  for (index_t j = 0; j < X.cols(); ++j) {
    for (index_t i = 0; i <= j; ++i) {
      if (X(i, j) != conjugate(X(j, i))) return false;
    }
  }
  return true;
}

template <jaxmg::Scalar T>
void expect_inverse_of(const HostMatrix<T>& A, const Inverse<T>& result) {
  EXPECT_EQ(result.info, 0);
  EXPECT_TRUE(is_hermitian(result.X));
  EXPECT_LT(inverse_residual(A, result.X), 10);
}

template <class P>
class Potri : public jaxmg::testing::KindTest<typename P::Kind> {};
TYPED_TEST_SUITE(Potri, jaxmg::testing::OnAllPrograms, jaxmg::testing::KindNames);

/// What is only about the CPU's queues.
template <class P>
class PotriOnCpu : public Potri<P> {};
TYPED_TEST_SUITE(PotriOnCpu, jaxmg::testing::OnCpuPrograms, jaxmg::testing::KindNames);

/// The public interface alone.
template <class P>
class PotriPublic : public Potri<P> {};
TYPED_TEST_SUITE(PotriPublic, jaxmg::testing::OnAllKinds, jaxmg::testing::KindNames);

/// In one memory and in several, whichever is the turn's.
bool direct(index_t n, int ranks) { return (n + ranks) % 2 == 0; }

TYPED_TEST(Potri, InvertsEverySizeTileAndNumberOfRanks) {
  using T = typename TypeParam::type;
  for (const index_t tile : {1, 5, 16, 1000}) {
    for (const index_t n : {index_t{0}, index_t{1}, tile - 1, tile, tile + 1, index_t{37}}) {
      if (n > 40 || (tile == 1 && n > 20) || (tile > 40 && n < 37)) continue;
      const HostMatrix<T> A = make_matrix<T>({Kind::spd, n, 100, 1}).A;
      for (const int ranks : {1, 2, 3, 4, 7, 8}) {
        for (const Method method : all_methods) {
          if (ranks > 2 && (n + ranks + static_cast<int>(method)) % 3 != 0) continue;
          const Setting setting{ranks, tile, direct(n, ranks)};
          SCOPED_TRACE(::testing::Message() << "n = " << n << ", " << setting << ", " << method);
          expect_inverse_of(A, invert<TypeParam>(A, setting, method));
        }
      }
    }
  }
}

TYPED_TEST(Potri, InvertsManyTilesAndARaggedLastRound) {
  using T = typename TypeParam::type;
  const index_t n = 131;  // divided by none of the numbers of ranks
  const HostMatrix<T> A = make_matrix<T>({Kind::matern_shuffled, n, 1e3, 1}).A;
  for (const int ranks : {1, 2, 3, 8}) {
    for (const index_t tile : {7, 16}) {
      for (const Method method : all_methods) {
        const Setting setting{ranks, tile, direct(tile + static_cast<int>(method), ranks)};
        SCOPED_TRACE(::testing::Message() << setting << ", " << method);
        expect_inverse_of(A, invert<TypeParam>(A, setting, method));
      }
    }
  }
}

TYPED_TEST(PotriOnCpu, InvertsUnderRandomScheduling) {
  using T = typename TypeParam::type;
  const HostMatrix<T> A = make_matrix<T>({Kind::rbf_shuffled, 31, 1e3, 1}).A;
  for (const unsigned seed : {1U, 2U}) {
    jaxmg::set_cpu_chaos(seed, 100);
    for (const Setting& setting : {Setting{1, 6, true}, {3, 4, true}, {4, 4, false}}) {
      for (const Method method : all_methods) {
        SCOPED_TRACE(::testing::Message() << "seed " << seed << ", " << setting << ", " << method);
        expect_inverse_of(A, invert<TypeParam>(A, setting, method));
      }
    }
  }
}

TYPED_TEST(Potri, InvertsOnOneRank) {
  using T = typename TypeParam::type;
  for (const index_t n : {0, 1, 40, 300}) {
    const HostMatrix<T> A = make_matrix<T>({Kind::spd, n, 100, 1}).A;
    for (const int ranks : {1, 2, 3, 8}) {
      const Setting setting{ranks, 0, direct(n, ranks)};  // tile 0: the library chooses
      SCOPED_TRACE(::testing::Message() << "n = " << n << ", " << setting);
      expect_inverse_of(A, invert<TypeParam>(A, setting, Method::sweep));
    }
  }
}

TYPED_TEST(Potri, InvertsOutOfPlace) {
  using T = typename TypeParam::type;
  for (const index_t n : {1, 23, 64}) {
    const HostMatrix<T> A = make_matrix<T>({Kind::spd, n, 100, 1}).A;
    for (const int ranks : {1, 3, 4}) {
      for (const index_t tile : {0, 5}) {
        const Setting setting{ranks, tile, direct(n, ranks)};
        SCOPED_TRACE(::testing::Message() << "n = " << n << ", " << setting);
        expect_inverse_of(A, sweep_out_of_place<TypeParam>(A, setting));
      }
    }
  }
}

/// Panels of more rows than are solved at a time.
TYPED_TEST(Potri, InvertsWhereAPanelIsSolvedInChunks) {
  using T = typename TypeParam::type;
  const index_t n = 150;
  const HostMatrix<T> A = make_matrix<T>({Kind::spd, n, 100, 1}).A;
  for (const Setting& setting : {Setting{1, 4, true}, {2, 4, false}, {3, 3, true}}) {
    ASSERT_LT(jaxmg::tallest_chunk({150, setting.ranks, setting.tile, n}), n / 3);
    SCOPED_TRACE(setting);
    expect_inverse_of(A, invert<TypeParam>(A, setting, Method::sweep));
  }
}

TYPED_TEST(PotriPublic, LeavesZerosBeyondTheOrder) {
  using T = typename TypeParam::type;
  const index_t n = 13;
  const HostMatrix<T> A = make_matrix<T>({Kind::spd, n, 10, 1}).A;
  const auto expect_zeros = [&](const DistributedMatrix<T>& X) {
    const HostMatrix<T> all = storage_of(X);
    for (index_t j = 0; j < all.cols(); ++j) {
      for (index_t i = j < n ? n : 0; i < all.rows(); ++i) EXPECT_EQ(all(i, j), T(0));
    }
  };
  for (const index_t tile : {0, 3}) {
    const Setting setting{4, tile, true};
    DistributedMatrix<T> matrix(TypeParam::Kind::team(setting), n);
    distribute_lower(A, matrix);
    expect_zeros(jaxmg::potri(std::move(matrix), {.tile = tile}).inverse);
    expect_zeros(jaxmg::inverse(factor<TypeParam>(A, setting)));
  }
}

TYPED_TEST(Potri, GivesLogDet) {
  using T = typename TypeParam::type;
  const index_t n = 60;
  const TestMatrix<T> matrix = make_matrix<T>({Kind::spd, n, 100, 1});
  const double eps = std::numeric_limits<real_t<T>>::epsilon();
  for (const Setting& setting : {Setting{1, 8, true}, {3, 16, false}, {8, 0, true}}) {
    SCOPED_TRACE(setting);
    EXPECT_NEAR(invert<TypeParam>(matrix.A, setting, Method::sweep).logdet, matrix.logdet.value(),
                n * 100 * eps);
  }
}

template <jaxmg::Scalar T>
void expect_failure_at(std::int32_t minor, const Inverse<T>& result) {
  EXPECT_EQ(result.info, minor);
  EXPECT_TRUE(std::isnan(result.logdet));
  for (const T& x : result.X.values()) EXPECT_TRUE(std::isnan(jaxmg::real_part(x)));
}

TYPED_TEST(Potri, TellsTheFirstFailingMinor) {
  using T = typename TypeParam::type;
  for (const Kind kind : {Kind::indefinite, Kind::nan}) {
    for (unsigned seed = 1; seed <= 4; ++seed) {
      const TestMatrix<T> matrix = make_matrix<T>({kind, 29, 100, seed});
      for (const Setting& setting :
           {Setting{1, 8, true}, {2, 5, false}, {3, 5, true}, {4, 0, false}}) {
        for (const Method method : all_methods) {
          SCOPED_TRACE(::testing::Message()
                       << to_string(kind) << seed << ", " << setting << ", " << method);
          expect_failure_at(matrix.first_failure, invert<TypeParam>(matrix.A, setting, method));
        }
      }
    }
  }
}

constexpr Kind kernels_and_spectra[] = {Kind::spd,           Kind::clustered,
                                        Kind::rbf_sorted,    Kind::rbf_shuffled,
                                        Kind::matern_sorted, Kind::matern_shuffled};
constexpr bool is_sorted(Kind kind) {
  return kind == Kind::rbf_sorted || kind == Kind::matern_sorted;
}
constexpr bool is_kernel(Kind kind) {
  return is_sorted(kind) || kind == Kind::rbf_shuffled || kind == Kind::matern_shuffled;
}

TYPED_TEST(Potri, OnOneRankHasASmallResidualForEveryMatrix) {
  using T = typename TypeParam::type;
  for (const Kind kind : kernels_and_spectra) {
    const double kappa = std::min(1e14, highest_kappa(kind, jaxmg::dtype_of<T>()));
    const HostMatrix<T> A = make_matrix<T>({kind, 290, kappa, 1}).A;
    SCOPED_TRACE(to_string(kind));
    expect_inverse_of(A, invert<TypeParam>(A, {3, 0, true}, Method::sweep));
  }
}

/// X L - I is small, and the product is summed in lauum's order: then any matrix will do.
TYPED_TEST(Potri, OfAFactorHasASmallResidualForEveryMatrix) {
  using T = typename TypeParam::type;
  for (const Kind kind : kernels_and_spectra) {
    const double kappa = std::min(1e14, highest_kappa(kind, jaxmg::dtype_of<T>()));
    const HostMatrix<T> A = make_matrix<T>({kind, 200, kappa, 1}).A;
    for (const Setting& setting : {Setting{2, 16, true}, {3, 67, false}}) {
      SCOPED_TRACE(::testing::Message() << to_string(kind) << ", " << setting);
      expect_inverse_of(A, invert<TypeParam>(A, setting, Method::of_factor));
    }
  }
}

TYPED_TEST(Potri, BySweepHasASmallResidualWhereLeadingBlocksAreWellConditioned) {
  using T = typename TypeParam::type;
  const bool single = sizeof(real_t<T>) == sizeof(float);
  for (const Kind kind : kernels_and_spectra) {
    if (is_sorted(kind)) continue;
    const double highest = is_kernel(kind) ? (single ? 1e5 : 1e10) : 1e14;
    const double kappa = std::min(highest, highest_kappa(kind, jaxmg::dtype_of<T>()));
    const HostMatrix<T> A = make_matrix<T>({kind, 200, kappa, 1}).A;
    for (const Setting& setting : {Setting{2, 16, true}, {3, 67, false}}) {
      SCOPED_TRACE(::testing::Message() << to_string(kind) << ", " << setting);
      expect_inverse_of(A, invert<TypeParam>(A, setting, Method::sweep));
    }
  }
}

/// The inverse by textbook's operations in the precision of W.
template <class W, jaxmg::Scalar T>
std::vector<W> textbook_inverse(const HostMatrix<T>& A) {
  const index_t n = A.cols();
  std::vector<W> values(static_cast<std::size_t>(n * n)), inverse(values.size());
  const auto conj = [](const W& x) -> W {
    if constexpr (jaxmg::is_complex_v<W>) return std::conj(x);
    return x;
  };
  const auto L = [&](index_t i, index_t j) -> W& {
    return values[static_cast<std::size_t>(i + j * n)];
  };
  const auto X = [&](index_t i, index_t j) -> W& {
    return inverse[static_cast<std::size_t>(i + j * n)];
  };
  for (index_t j = 0; j < n; ++j) {
    for (index_t i = j; i < n; ++i) L(i, j) = W(A(i, j));
    for (index_t k = 0; k < j; ++k) {
      const W row = conj(L(j, k));
      for (index_t i = j; i < n; ++i) L(i, j) -= L(i, k) * row;
    }
    const auto diagonal = std::sqrt(std::real(L(j, j)));
    for (index_t i = j; i < n; ++i) L(i, j) /= diagonal;
  }
  // L becomes its inverse by columns, last to first: X21 = -X22 L21 / L11.
  for (index_t j = n - 1; j >= 0; --j) {
    const auto pivot = W(1) / L(j, j);
    std::vector<W> column(static_cast<std::size_t>(n));
    for (index_t k = j + 1; k < n; ++k) {
      for (index_t i = k; i < n; ++i) column[static_cast<std::size_t>(i)] -= L(i, k) * L(k, j);
    }
    for (index_t i = j + 1; i < n; ++i) L(i, j) = column[static_cast<std::size_t>(i)] * pivot;
    L(j, j) = pivot;
  }
  for (index_t j = 0; j < n; ++j) {
    for (index_t i = j; i < n; ++i) {
      W sum(0);
      for (index_t k = i; k < n; ++k) sum += conj(L(k, i)) * L(k, j);
      X(i, j) = sum;
      X(j, i) = conj(sum);
    }
  }
  return inverse;
}

/// For kernels of sorted points the residual of the sweep may be large; its error is LAPACK's.
TYPED_TEST(Potri, BySweepHasLapacksErrorOnSortedKernels) {
  using T = typename TypeParam::type;
  using W = std::conditional_t<jaxmg::is_complex_v<T>, std::complex<long double>, long double>;
  const index_t n = 100;
  for (const Kind kind : {Kind::rbf_sorted, Kind::matern_sorted}) {
    for (const double kappa : {1e4, highest_kappa(kind, jaxmg::dtype_of<T>())}) {
      const HostMatrix<T> A = make_matrix<T>({kind, n, kappa, 1}).A;
      const std::vector<W> exact = textbook_inverse<W>(A);
      const auto error = [&](const std::vector<T>& X) {
        long double sum = 0, norm = 0;
        for (std::size_t e = 0; e < exact.size(); ++e) {
          sum += std::norm(W(X[e]) - exact[e]);
          norm += std::norm(exact[e]);
        }
        return static_cast<double>(std::sqrt(sum / norm));
      };
      const double lapacks = error(textbook_inverse<T>(A));
      for (const Setting& setting : {Setting{1, 16, true}, {3, 7, false}}) {
        SCOPED_TRACE(::testing::Message()
                     << to_string(kind) << ", kappa = " << kappa << ", " << setting);
        const Inverse<T> result = invert<TypeParam>(A, setting, Method::sweep);
        EXPECT_LT(error(result.X.values()), 3 * lapacks);
      }
    }
  }
}

TYPED_TEST(PotriPublic, RefusesANegativeTile) {
  DistributedMatrix<typename TypeParam::type> matrix(TypeParam::Kind::team({2, 0, true}), 4);
  EXPECT_THROW(jaxmg::potri(std::move(matrix), {.tile = -1}), jaxmg::InvalidArgument);
}

}  // namespace
