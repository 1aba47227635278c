// Inverses: of a matrix in one sweep, and of a matrix from its factor; by the public interface, and
// by the rank programs with what GPUs do where a backend has a choice.
#include <cmath>
#include <thread>

#include <gtest/gtest.h>

#include "api/potri_program.hpp"
#include "device/cpu/backend.hpp"
#include "jaxmg/error.hpp"
#include "jaxmg/potri.hpp"
#include "layouts.hpp"
#include "testing/matrices.hpp"
#include "testing/reference_cholesky.hpp"
#include "testing/residuals.hpp"
#include "testing/setting.hpp"

namespace {

using jaxmg::conjugate;
using jaxmg::DistributedMatrix;
using jaxmg::index_t;
using jaxmg::real_t;
using namespace jaxmg_testing;

/// The CPU, with the panel method of a GPU.
struct SubstitutingBackend : jaxmg::cpu::Backend {
  static constexpr auto panel_method = jaxmg::PanelMethod::block_substitution;
};

/// The first failing minor and all that came out.
template <jaxmg::Scalar T>
struct Inverse {
  HostMatrix<T> X;
  std::int32_t info;
  real_t<T> logdet;
};

enum class Method { sweep, of_factor, substituting_sweep, substituting_of_factor };
constexpr Method all_methods[] = {Method::sweep, Method::of_factor, Method::substituting_sweep,
                                  Method::substituting_of_factor};
constexpr const char* names[] = {"sweep", "of factor", "substituting sweep",
                                 "substituting, of factor"};
std::ostream& operator<<(std::ostream& out, Method method) {
  return out << names[static_cast<int>(method)];
}

/// Runs a program on a thread a rank, each with `bytes` of workspace.
template <class Program>
void run_substituting(const Setting& setting, std::size_t bytes, const Program& program) {
  using B = SubstitutingBackend;
  const auto count = static_cast<std::size_t>(setting.ranks);
  jaxmg::TeamCall<B> call(setting.ranks, {setting.reads_peers_directly, std::chrono::seconds(60)});
  std::vector<std::vector<std::byte>> workspaces(count, std::vector<std::byte>(bytes));
  std::vector<std::exception_ptr> failures(count);
  std::vector<std::thread> threads;
  jaxmg::cpu::set_permits(2);
  for (std::size_t p = 0; p < count; ++p) {
    threads.emplace_back([&, p] {
      jaxmg::cpu::Device device;
      failures[p] =
          jaxmg::run_rank<B>(call, static_cast<int>(p), device,
                             [&](jaxmg::Rank<B>& rank) { program(rank, workspaces[p].data()); });
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const std::exception_ptr& failure : failures) {
    if (failure) std::rethrow_exception(failure);
  }
}

/// The sweep into other storage, which starts as NaN; A must stay as it is.
template <jaxmg::Scalar T>
Inverse<T> substituting_sweep(const HostMatrix<T>& A, const Setting& setting, bool on_one_rank) {
  using B = SubstitutingBackend;
  const jaxmg::BackendTraits traits{B::panel_method, setting.reads_peers_directly};
  DistributedMatrix<T> matrix(setting.team(), A.cols()), result(setting.team(), A.cols());
  distribute_lower(A, matrix);
  for (int p = 0; p < setting.ranks; ++p) {
    std::fill_n(result.shard(p).data, result.columns() * result.local_columns(), quiet_nan<T>());
  }
  const index_t tile = std::max<index_t>(1, std::min(setting.tile, matrix.local_columns()));
  const jaxmg::CholeskyProblem problem{matrix.columns(), A.cols(), setting.ranks, tile, 0, false,
                                       on_one_rank};
  std::vector<std::int32_t> info(static_cast<std::size_t>(setting.ranks), -1);
  std::vector<real_t<T>> logdet(info.size());
  run_substituting(setting, jaxmg::PotriWorkspace<T>::bytes(problem, traits),
                   [&](jaxmg::Rank<B>& rank, void* workspace) {
                     const auto p = static_cast<std::size_t>(rank.index());
                     jaxmg::potri_program<B, T>(
                         rank, problem,
                         {matrix.shard(rank.index()), result.shard(rank.index()), &logdet[p],
                          &info[p], workspace});
                   });
  for (index_t j = 0; j < A.cols(); ++j) {
    for (index_t i = j; i < A.cols(); ++i) {
      EXPECT_TRUE(matrix(i, j) == A(i, j) || A(i, j) != A(i, j)) << "the operand was changed";
    }
  }
  for (std::size_t p = 1; p < info.size(); ++p) EXPECT_EQ(info[p], info[0]);
  return {gather(result), info[0], logdet[0]};
}

template <jaxmg::Scalar T>
Inverse<T> substituting_of_factor(const HostMatrix<T>& A, const Setting& setting) {
  using B = SubstitutingBackend;
  const jaxmg::BackendTraits traits{B::panel_method, setting.reads_peers_directly};
  const jaxmg::CholeskyFactor<T> L = factor(A, setting);
  DistributedMatrix<T> result(setting.team(), A.cols());
  const jaxmg::CholeskyProblem problem{
      L.storage().columns(), A.cols(), setting.ranks, L.tile(), 0, true};
  const std::int32_t info = L.info();
  run_substituting(setting, jaxmg::FactorInverseWorkspace<T>::bytes(problem, traits),
                   [&](jaxmg::Rank<B>& rank, void* workspace) {
                     jaxmg::factor_inverse_program<B, T>(
                         rank, problem, L.storage().shard(rank.index()), result.shard(rank.index()),
                         &info, workspace);
                   });
  return {gather(result), info, L.logdet()};
}

template <jaxmg::Scalar T>
Inverse<T> invert(const HostMatrix<T>& A, const Setting& setting, Method method) {
  switch (method) {
    case Method::sweep: {
      DistributedMatrix<T> matrix(setting.team(), A.cols());
      distribute_lower(A, matrix);
      const auto result = jaxmg::potri(std::move(matrix), {.tile = setting.tile});
      return {gather(result.inverse), result.info, result.logdet};
    }
    case Method::of_factor: {
      const jaxmg::CholeskyFactor<T> L = factor(A, setting);
      return {gather(jaxmg::inverse(L)), L.info(), L.logdet()};
    }
    case Method::substituting_sweep:
      return substituting_sweep(A, setting, false);
    case Method::substituting_of_factor:
      break;
  }
  return substituting_of_factor(A, setting);
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

template <class T>
class Potri : public ::testing::Test {
 protected:
  void TearDown() override { jaxmg::set_cpu_chaos(0); }
};
using Scalars = ::testing::Types<float, double, std::complex<float>, std::complex<double>>;
TYPED_TEST_SUITE(Potri, Scalars);

/// In one memory and in several, whichever is the turn's.
bool direct(index_t n, int ranks) { return (n + ranks) % 2 == 0; }

TYPED_TEST(Potri, InvertsEverySizeTileAndNumberOfRanks) {
  using T = TypeParam;
  for (const index_t tile : {1, 5, 16, 1000}) {
    for (const index_t n : {index_t{0}, index_t{1}, tile - 1, tile, tile + 1, index_t{37}}) {
      if (n > 40 || (tile == 1 && n > 20)) continue;
      const HostMatrix<T> A = make_matrix<T>({Kind::spd, n, 100, 1}).A;
      for (const int ranks : {1, 2, 3, 4, 5, 6, 7, 8}) {
        for (const Method method : all_methods) {
          if (ranks > 4 && (n + ranks + static_cast<int>(method)) % 3 != 0) continue;
          const Setting setting{ranks, tile, direct(n, ranks)};
          SCOPED_TRACE(::testing::Message() << "n = " << n << ", " << setting << ", " << method);
          expect_inverse_of(A, invert(A, setting, method));
        }
      }
    }
  }
}

TYPED_TEST(Potri, InvertsManyTilesAndARaggedLastRound) {
  using T = TypeParam;
  const index_t n = 131;  // divided by none of the numbers of ranks
  const HostMatrix<T> A = make_matrix<T>({Kind::matern_shuffled, n, 1e3, 1}).A;
  for (const int ranks : {1, 2, 3, 8}) {
    for (const index_t tile : {7, 16}) {
      for (const bool direct : {true, false}) {
        for (const Method method : all_methods) {
          const Setting setting{ranks, tile, direct};
          SCOPED_TRACE(::testing::Message() << setting << ", " << method);
          expect_inverse_of(A, invert(A, setting, method));
        }
      }
    }
  }
}

TYPED_TEST(Potri, InvertsUnderRandomScheduling) {
  using T = TypeParam;
  const HostMatrix<T> A = make_matrix<T>({Kind::rbf_shuffled, 31, 1e3, 1}).A;
  for (const unsigned seed : {1U, 2U}) {
    jaxmg::set_cpu_chaos(seed);
    for (const Setting& setting :
         {Setting{1, 6, true}, {2, 5, false}, {3, 4, true}, {4, 4, false}}) {
      for (const Method method : all_methods) {
        SCOPED_TRACE(::testing::Message() << "seed " << seed << ", " << setting << ", " << method);
        expect_inverse_of(A, invert(A, setting, method));
      }
    }
  }
}

TYPED_TEST(Potri, InvertsOnOneRank) {
  using T = TypeParam;
  for (const index_t n : {0, 1, 40, 300}) {
    const HostMatrix<T> A = make_matrix<T>({Kind::spd, n, 100, 1}).A;
    for (const int ranks : {1, 2, 3, 8}) {
      const Setting setting{ranks, 0, direct(n, ranks)};  // tile 0: the library chooses
      SCOPED_TRACE(::testing::Message() << "n = " << n << ", " << setting);
      expect_inverse_of(A, invert(A, setting, Method::sweep));
      expect_inverse_of(A, substituting_sweep(A, setting, true));
    }
  }
}

TYPED_TEST(Potri, LeavesZerosBeyondTheOrder) {
  using T = TypeParam;
  const index_t n = 13;
  const HostMatrix<T> A = make_matrix<T>({Kind::spd, n, 10, 1}).A;
  const auto expect_zeros = [&](const DistributedMatrix<T>& X) {
    for (index_t j = 0; j < X.columns(); ++j) {
      for (index_t i = j < n ? n : 0; i < X.columns(); ++i) EXPECT_EQ(X(i, j), T(0));
    }
  };
  for (const index_t tile : {0, 3}) {
    const Setting setting{4, tile, true};
    DistributedMatrix<T> matrix(setting.team(), n);
    distribute_lower(A, matrix);
    expect_zeros(jaxmg::potri(std::move(matrix), {.tile = tile}).inverse);
    expect_zeros(jaxmg::inverse(factor(A, setting)));
  }
}

TYPED_TEST(Potri, GivesLogDet) {
  using T = TypeParam;
  const index_t n = 60;
  const TestMatrix<T> matrix = make_matrix<T>({Kind::spd, n, 100, 1});
  const double eps = std::numeric_limits<real_t<T>>::epsilon();
  for (const Setting& setting : {Setting{1, 8, true}, {3, 16, false}, {8, 0, true}}) {
    SCOPED_TRACE(setting);
    EXPECT_NEAR(invert(matrix.A, setting, Method::sweep).logdet, matrix.logdet.value(),
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
  using T = TypeParam;
  for (const Kind kind : {Kind::indefinite, Kind::nan}) {
    for (unsigned seed = 1; seed <= 4; ++seed) {
      const TestMatrix<T> matrix = make_matrix<T>({kind, 29, 100, seed});
      for (const Setting& setting :
           {Setting{1, 8, true}, {2, 5, false}, {3, 5, true}, {4, 0, false}}) {
        for (const Method method : all_methods) {
          if (setting.tile == 0 && method == Method::substituting_sweep) continue;
          SCOPED_TRACE(::testing::Message()
                       << to_string(kind) << seed << ", " << setting << ", " << method);
          expect_failure_at(matrix.first_failure, invert(matrix.A, setting, method));
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
  using T = TypeParam;
  for (const Kind kind : kernels_and_spectra) {
    const double kappa = std::min(1e14, highest_kappa(kind, jaxmg::dtype_of<T>()));
    const HostMatrix<T> A = make_matrix<T>({kind, 290, kappa, 1}).A;
    const Setting setting{3, 0, true};
    SCOPED_TRACE(to_string(kind));
    expect_inverse_of(A, invert(A, setting, Method::sweep));
    expect_inverse_of(A, substituting_sweep(A, setting, true));
  }
}

/// X L - I is small, and the product is summed in lauum's order: then any matrix will do.
TYPED_TEST(Potri, OfAFactorHasASmallResidualForEveryMatrix) {
  using T = TypeParam;
  for (const Kind kind : kernels_and_spectra) {
    const double kappa = std::min(1e14, highest_kappa(kind, jaxmg::dtype_of<T>()));
    const HostMatrix<T> A = make_matrix<T>({kind, 200, kappa, 1}).A;
    for (const Method method : {Method::of_factor, Method::substituting_of_factor}) {
      for (const Setting& setting : {Setting{2, 16, true}, {3, 67, false}}) {
        SCOPED_TRACE(::testing::Message() << to_string(kind) << ", " << setting << ", " << method);
        expect_inverse_of(A, invert(A, setting, method));
      }
    }
  }
}

TYPED_TEST(Potri, BySweepHasASmallResidualWhereLeadingBlocksAreWellConditioned) {
  using T = TypeParam;
  const bool single = sizeof(real_t<T>) == sizeof(float);
  for (const Kind kind : kernels_and_spectra) {
    if (is_sorted(kind)) continue;
    const double highest = is_kernel(kind) ? (single ? 1e5 : 1e10) : 1e14;
    const double kappa = std::min(highest, highest_kappa(kind, jaxmg::dtype_of<T>()));
    const HostMatrix<T> A = make_matrix<T>({kind, 200, kappa, 1}).A;
    for (const Method method : {Method::sweep, Method::substituting_sweep}) {
      for (const Setting& setting : {Setting{2, 16, true}, {3, 67, false}}) {
        SCOPED_TRACE(::testing::Message() << to_string(kind) << ", " << setting << ", " << method);
        expect_inverse_of(A, invert(A, setting, method));
      }
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
  using T = TypeParam;
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
      for (const Method method : {Method::sweep, Method::substituting_sweep}) {
        for (const Setting& setting : {Setting{1, 16, true}, {3, 7, false}}) {
          SCOPED_TRACE(::testing::Message() << to_string(kind) << ", kappa = " << kappa << ", "
                                            << setting << ", " << method);
          EXPECT_LT(error(invert(A, setting, method).X.values()), 3 * lapacks);
        }
      }
    }
  }
}

TYPED_TEST(Potri, RefusesANegativeTile) {
  DistributedMatrix<TypeParam> matrix(jaxmg::Team::cpu(2), 4);
  EXPECT_THROW(jaxmg::potri(std::move(matrix), {.tile = -1}), jaxmg::InvalidArgument);
}

}  // namespace
