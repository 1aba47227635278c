// Eigenvalues and eigenvectors of distributed Hermitian matrices, by the rank program.
#include <algorithm>
#include <array>
#include <cmath>

#include <gtest/gtest.h>

#include "api/syevd_program.hpp"
#include "kinds.hpp"
#include "testing/eigen_matrices.hpp"
#include "testing/matrices.hpp"
#include "testing/residuals.hpp"

namespace {

using jaxmg::conjugate;
using jaxmg::index_t;
using jaxmg::MatrixView;
using jaxmg::real_t;
using jaxmg::Scalar;
using jaxmg::SyevdProblem;
using namespace jaxmg_testing;

template <Scalar T>
struct Eigen {
  std::vector<real_t<T>> w;
  HostMatrix<T> V;
  std::int32_t info = -1;
};

/// How a test runs the program.
struct Way {
  int ranks;
  index_t tile;
  jaxmg::BandReductionSizes band;
  bool direct = true;
  bool in_place = false;
  index_t pad = 0;  ///< further storage columns a rank
  bool eigenvectors = true;
};

std::ostream& operator<<(std::ostream& out, const Way& way) {
  return out << Setting{way.ranks, way.tile, way.direct} << ", b = " << way.band.bandwidth
             << ", K = " << way.band.block << (way.in_place ? ", in place" : "") << ", pad "
             << way.pad;
}

/// The lower triangle of A's columns on rank p in block layout; NaN in all that is not to be read.
template <Scalar T>
HostMatrix<T> block_of(const HostMatrix<T>& A, index_t columns, int ranks, int p) {
  const index_t n_loc = columns / ranks;
  HostMatrix<T> block(columns, n_loc);
  for (index_t k = 0; k < n_loc; ++k) {
    const index_t j = p * n_loc + k;
    for (index_t i = 0; i < columns; ++i) {
      block(i, k) = i >= j && i < A.cols() ? A(i, j) : quiet_nan<T>();
    }
  }
  return block;
}

template <class P>
Eigen<typename P::type> decompose(const HostMatrix<typename P::type>& A, const Way& way) {
  using T = typename P::type;
  using Kind = typename P::Kind;
  using B = typename Kind::Backend;
  using R = real_t<T>;
  const index_t n = A.cols(), n_loc = (n + way.ranks - 1) / way.ranks + way.pad;
  const index_t columns = n_loc * way.ranks;
  const SyevdProblem problem{columns,          n,
                             way.ranks,        std::max<index_t>(1, std::min(way.tile, n_loc)),
                             way.eigenvectors, way.in_place,
                             way.band};
  const auto count = static_cast<std::size_t>(way.ranks);
  std::vector<HostMatrix<T>> blocks(count), vectors(count);
  std::vector<std::vector<R>> w(count);
  std::vector<std::int32_t> infos(count, -1);
  std::vector<typename Kind::template Vector<std::byte>> workspaces(count);
  Kind::run({way.ranks, way.tile, way.direct}, [&](jaxmg::Rank<B>& rank) {
    const int me = rank.index();
    const auto p = static_cast<std::size_t>(me);
    blocks[p] = block_of(A, columns, way.ranks, me);
    vectors[p] = HostMatrix<T>(columns, way.eigenvectors ? n_loc : 0);
    std::fill_n(vectors[p].view().data, vectors[p].values().size(), quiet_nan<T>());
    w[p].assign(static_cast<std::size_t>(n), quiet_nan<R>());
    // All numbers in it are NaN.
    workspaces[p].resize(jaxmg::SyevdWorkspace<T>::bytes(problem, me, way.direct), std::byte{0xff});
    jaxmg::syevd_program<B, T>(
        rank, problem,
        {blocks[p].view(), w[p].data(), vectors[p].view(), &infos[p], workspaces[p].data()});
  });

  Eigen<T> eigen{w[0], HostMatrix<T>(n, way.eigenvectors ? n : 0), infos[0]};
  for (std::size_t p = 0; p < count; ++p) {
    EXPECT_EQ(infos[p], infos[0]);
    for (std::size_t i = 0; i < w[0].size(); ++i) {
      EXPECT_TRUE(w[p][i] == w[0][i] || std::isnan(w[0][i]));
    }
    if (!way.eigenvectors) continue;
    for (index_t k = 0; k < n_loc; ++k) {
      const index_t j = static_cast<index_t>(p) * n_loc + k;
      for (index_t i = 0; i < columns; ++i) {
        const T entry = vectors[p](i, k);
        if (i < n && j < n) {
          eigen.V(i, j) = entry;
        } else if (infos[0] == 0) {
          EXPECT_EQ(entry, T(0)) << "beyond the order";
        } else {
          EXPECT_NE(entry, entry) << "beyond the order";
        }
      }
    }
  }
  return eigen;
}

template <Scalar T>
HostMatrix<T> diagonal(const std::vector<real_t<T>>& w) {
  const auto n = static_cast<index_t>(w.size());
  HostMatrix<T> D(n, n);
  for (index_t i = 0; i < n; ++i) D(i, i) = w[static_cast<std::size_t>(i)];
  return D;
}

template <Scalar T>
double norm_1(const HostMatrix<T>& A) {
  double norm = 0;
  for (index_t j = 0; j < A.cols(); ++j) {
    double sum = 0;
    for (index_t i = 0; i < A.rows(); ++i) sum += std::abs(std::complex<double>(A(i, j)));
    norm = std::max(norm, sum);
  }
  return norm;
}

/// The decomposition, and that eigenvalues alone are the same to rounding.
template <class P>
void expect_eigen(const HostMatrix<typename P::type>& A, Way way) {
  using T = typename P::type;
  SCOPED_TRACE(::testing::Message() << "n = " << A.cols() << ", " << way);
  const Eigen<T> eigen = decompose<P>(A, way);
  EXPECT_EQ(eigen.info, 0);
  EXPECT_TRUE(std::is_sorted(eigen.w.begin(), eigen.w.end()));
  EXPECT_LT(similarity_residual(A, eigen.V, diagonal<T>(eigen.w)), 10);
  EXPECT_LT(orthogonality_residual(eigen.V), 10);
  way.eigenvectors = false;
  const Eigen<T> values = decompose<P>(A, way);
  EXPECT_EQ(values.info, 0);
  const double bound =
      10 * static_cast<double>(A.cols()) * std::numeric_limits<real_t<T>>::epsilon() * norm_1(A);
  for (std::size_t i = 0; i < eigen.w.size(); ++i) {
    EXPECT_LE(std::abs(static_cast<double>(eigen.w[i]) - static_cast<double>(values.w[i])), bound);
  }
}

template <class P>
class Syevd : public jaxmg::testing::KindTest<typename P::Kind> {};
TYPED_TEST_SUITE(Syevd, jaxmg::testing::OnCpu, jaxmg::testing::KindNames);

TYPED_TEST(Syevd, EveryKindOfMatrix) {
  using T = typename TypeParam::type;
  int turn = 0;
  for (const EigenKind kind : all_eigen_kinds) {
    if (kind == EigenKind::nan) continue;
    SCOPED_TRACE(to_string(kind));
    for (const index_t n : {29, 53}) {
      expect_eigen<TypeParam>(make_eigen_matrix<T>(kind, n),
                              {1 + turn % 4, 7, {5, 10}, turn % 8 < 4, turn % 3 == 0});
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
      expect_eigen<TypeParam>(A, {ranks, 4, {4, 8}, direct, n % 3 == 0, n % 4});
    }
  }
}

/// Entries near the ends of T's range; the residual is that of the scaled matrix.
TYPED_TEST(Syevd, ScalesByAPowerOfTwo) {
  using T = typename TypeParam::type;
  using R = real_t<T>;
  const HostMatrix<T> A = make_eigen_matrix<T>(EigenKind::random, 23);
  const Way way{3, 4, {4, 8}, false, true};
  const Eigen<T> expected = decompose<TypeParam>(A, way);
  const int exponent = std::numeric_limits<R>::max_exponent - 30;
  for (const int k : {exponent, -exponent}) {
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
      const Eigen<T> eigen = decompose<TypeParam>(A, way);
      way.eigenvectors = false;
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
      expect_eigen<TypeParam>(A, {ranks, 4, {4, 8}, ranks == 2, seed == 2});
    }
  }
}

}  // namespace
