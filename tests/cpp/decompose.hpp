// Runs rank programs of syevd in every way that they can run, and judges what they find.
#pragma once

#include <algorithm>
#include <cmath>
#include <ostream>
#include <vector>

#include <gtest/gtest.h>

#include "api/syevd_program.hpp"
#include "kinds.hpp"
#include "testing/eigen_matrices.hpp"
#include "testing/matrices.hpp"
#include "testing/reference_eigenvalues.hpp"
#include "testing/residuals.hpp"

namespace jaxmg::testing::eigen {

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
  Eigenvectors eigenvectors = Eigenvectors::columns;
  bool on_one_rank = false;

  index_t rows_of_result(index_t columns) const {
    return eigenvectors == Eigenvectors::rows ? columns / ranks : columns;
  }
  index_t columns_of_result(index_t columns) const {
    if (eigenvectors == Eigenvectors::none) return 0;
    return eigenvectors == Eigenvectors::rows ? columns : columns / ranks;
  }
};

inline std::ostream& operator<<(std::ostream& out, const Way& way) {
  return out << Setting{way.ranks, way.tile, way.direct} << ", b = " << way.band.bandwidth
             << ", K = " << way.band.block << (way.in_place ? ", in place" : "") << ", pad "
             << way.pad << (way.eigenvectors == Eigenvectors::rows ? ", rows" : "")
             << (way.on_one_rank ? ", on one rank" : "");
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

/// By jaxmg's own program.
struct ByJaxmg {
  static SyevdProblem planned(const SyevdProblem& problem) { return problem; }
  template <class B, Scalar T>
  static std::size_t bytes(const jaxmg::Rank<B>& rank, const SyevdProblem& problem) {
    return jaxmg::SyevdWorkspace<T>::bytes(problem, rank.index(), rank.reads_peers_directly());
  }
  template <class B, Scalar T>
  static void run(jaxmg::Rank<B>& rank, const SyevdProblem& problem,
                  const jaxmg::SyevdOperands<T>& operands) {
    jaxmg::syevd_program<B, T>(rank, problem, operands);
  }
};

/// `by` is like ByJaxmg.
template <class P, class By = ByJaxmg>
Eigen<typename P::type> decompose(const HostMatrix<typename P::type>& A, const Way& way,
                                  const By& by = {}) {
  using T = typename P::type;
  using Kind = typename P::Kind;
  using B = typename Kind::Backend;
  using R = real_t<T>;
  const index_t n = A.cols(), n_loc = (n + way.ranks - 1) / way.ranks + way.pad;
  const index_t columns = n_loc * way.ranks;
  const SyevdProblem problem =
      by.planned({columns, n, way.ranks, std::max<index_t>(1, std::min(way.tile, n_loc)),
                  way.eigenvectors, way.in_place, way.band, way.on_one_rank});
  const auto count = static_cast<std::size_t>(way.ranks);
  using jaxmg::testing::Shared;
  std::vector<Shared<Kind, T>> blocks(count, Shared<Kind, T>(0, 0)), vectors = blocks;
  std::vector<typename Kind::template Vector<R>> w(count);
  typename Kind::template Vector<std::int32_t> infos(count, -1);
  std::vector<typename Kind::template Vector<std::byte>> workspaces(count);
  Kind::run({way.ranks, way.tile, way.direct}, [&](jaxmg::Rank<B>& rank) {
    const int me = rank.index();
    const auto p = static_cast<std::size_t>(me);
    blocks[p] = Shared<Kind, T>(block_of(A, columns, way.ranks, me));
    vectors[p] = Shared<Kind, T>(way.rows_of_result(columns), way.columns_of_result(columns));
    const MatrixView<T> V = vectors[p].view();
    std::fill_n(V.data, V.rows * V.cols, quiet_nan<T>());
    w[p].assign(static_cast<std::size_t>(n), quiet_nan<R>());
    // All numbers in it are NaN.
    workspaces[p].resize(by.template bytes<B, T>(rank, problem), std::byte{0xff});
    by.template run<B, T>(rank, problem,
                          {blocks[p].view(), w[p].data(), V, &infos[p], workspaces[p].data()});
  });

  const bool by_rows = way.eigenvectors == Eigenvectors::rows;
  Eigen<T> eigen{
      {w[0].begin(), w[0].end()}, HostMatrix<T>(n, problem.with_vectors() ? n : 0), infos[0]};
  for (std::size_t p = 0; p < count; ++p) {
    EXPECT_EQ(infos[p], infos[0]);
    for (std::size_t i = 0; i < w[0].size(); ++i) {
      EXPECT_TRUE(w[p][i] == w[0][i] || std::isnan(w[0][i]));
    }
    if (!problem.with_vectors()) continue;
    for (index_t k = 0; k < n_loc; ++k) {
      const index_t j = static_cast<index_t>(p) * n_loc + k;
      for (index_t i = 0; i < columns; ++i) {
        const MatrixView<T> V = vectors[p].view();
        const T entry = by_rows ? conjugate(V(k, i)) : V(i, k);
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

/// The decomposition, and eigenvalues alone.
template <class P, class By = ByJaxmg>
void expect_eigen(const HostMatrix<typename P::type>& A, Way way, const By& by = {}) {
  using T = typename P::type;
  SCOPED_TRACE(::testing::Message() << "n = " << A.cols() << ", " << way);
  const Eigen<T> eigen = decompose<P>(A, way, by);
  EXPECT_EQ(eigen.info, 0);
  EXPECT_TRUE(std::is_sorted(eigen.w.begin(), eigen.w.end()));
  EXPECT_LT(eigen_residual(A, eigen.V, eigen.w), 10);
  EXPECT_LT(orthogonality_residual(eigen.V), 10);
  way.eigenvectors = Eigenvectors::none;
  const Eigen<T> values = decompose<P>(A, way, by);
  EXPECT_EQ(values.info, 0);
  EXPECT_LT(eigenvalue_error(A, eigen.w), 10);
  EXPECT_LT(eigenvalue_error(A, values.w), 10);
}

}  // namespace jaxmg::testing::eigen
