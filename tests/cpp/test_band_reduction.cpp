// Reduction to band form and its back-transform, as rank programs.
#include <cmath>

#include <gtest/gtest.h>

#include "api/band_reduction_plan.hpp"
#include "dense_algebra.hpp"
#include "kinds.hpp"
#include "testing/eigen_matrices.hpp"
#include "testing/matrices.hpp"
#include "testing/residuals.hpp"

namespace {

using jaxmg::BandReductionSizes;
using jaxmg::BlockCyclic;
using jaxmg::conjugate;
using jaxmg::index_t;
using namespace jaxmg_testing;
using namespace jaxmg::testing;

constexpr double bound = 10;

/// How a matrix is spread and reduced. `pad`: storage columns a rank has beyond ceil(n / P).
struct Way {
  int ranks;
  index_t tile;
  BandReductionSizes sizes;
  index_t pad = 0;
};
std::ostream& operator<<(std::ostream& out, const Way& way) {
  return out << "P = " << way.ranks << ", T = " << way.tile << ", b = " << way.sizes.bandwidth
             << ", K = " << way.sizes.block << ", pad = " << way.pad;
}

template <jaxmg::Scalar T>
struct Reduced {
  HostMatrix<T> B;  ///< both triangles
  HostMatrix<T> Q;  ///< Q1, by the back-transform of I
};

template <class P>
class BandReduction : public jaxmg::testing::KindTest<typename P::Kind> {
 protected:
  using Value = typename P::type;
  using Kind_ = typename P::Kind;
  using B = typename Kind_::Backend;

  /// What a rank has.
  struct Storage {
    typename Kind_::template Vector<Value> A, U;
    typename Kind_::template Vector<std::byte> form, work, back;
    jaxmg::BandForm<Value> result;
  };

  static Reduced<Value> reduce(const HostMatrix<Value>& A, const Way& way) {
    const index_t n = A.cols(), P_ = way.ranks;
    const index_t columns = ((n + P_ - 1) / P_ + way.pad) * P_;
    const BlockCyclic layout(columns, way.ranks, way.tile, n);
    std::vector<Storage> ranks(static_cast<std::size_t>(P_));
    HostMatrix<Value> Q(n, n);
    Kind_::run({way.ranks, way.tile, true}, [&](jaxmg::Rank<B>& rank) {
      Storage& mine = ranks[static_cast<std::size_t>(rank.index())];
      const MatrixView<Value> M = distribute(A, layout, rank.index(), mine);
      const MatrixView<Value> U = rows_of_identity(layout, rank.index(), mine);
      mine.form = rubbish(bytes([&](jaxmg::Arena& arena) {
        jaxmg::carve_band_form<Value>(arena, layout, way.sizes.bandwidth);
      }));
      mine.work = rubbish(bytes([&](jaxmg::Arena& arena) {
        jaxmg::carve_band_reduction<Value>(arena, layout, way.sizes);
      }));
      mine.back = rubbish(bytes([&](jaxmg::Arena& arena) {
        jaxmg::carve_band_back_transform<Value>(arena, layout, way.sizes.block, U.rows);
      }));
      jaxmg::Arena form(mine.form.data()), work(mine.work.data()), back(mine.back.data());
      mine.result = jaxmg::carve_band_form<Value>(form, layout, way.sizes.bandwidth);
      const auto scratch = jaxmg::carve_band_reduction<Value>(work, layout, way.sizes);
      jaxmg::band_reduction<B, Value>(rank, layout, M, mine.result, scratch);
      const auto back_scratch =
          jaxmg::carve_band_back_transform<Value>(back, layout, way.sizes.block, U.rows);
      jaxmg::apply_band_reduction<B, Value>(rank, layout, M, mine.result.factors,
                                            way.sizes.bandwidth, U, back_scratch);
    });
    index_t column = 0;
    for (const Storage& rank : ranks) {
      const index_t rows = n > 0 ? static_cast<index_t>(rank.U.size()) / n : 0;
      for (index_t i = 0; i < rows; ++i, ++column) {
        for (index_t j = 0; j < n; ++j) {
          Q(j, column) = conjugate(rank.U[static_cast<std::size_t>(i + rows * j)]);
        }
      }
      expect_same_band(ranks[0].result.band, rank.result.band);
    }
    EXPECT_EQ(column, n);
    return {full(ranks[0].result.band), Q};
  }

  static void expect_reduces(const HostMatrix<Value>& A, const Way& way) {
    SCOPED_TRACE(::testing::Message() << "n = " << A.cols() << ", " << way);
    const Reduced<Value> reduced = reduce(A, way);
    EXPECT_LT(similarity_residual(A, reduced.Q, reduced.B), bound);
    EXPECT_LT(orthogonality_residual(reduced.Q), bound);
  }

 private:
  template <class Carve>
  static std::size_t bytes(const Carve& carve) {
    jaxmg::Arena arena;
    carve(arena);
    return arena.bytes();
  }

  /// Workspace as nobody may expect it: every number in it is NaN.
  static typename Kind_::template Vector<std::byte> rubbish(std::size_t size) {
    return typename Kind_::template Vector<std::byte>(size, std::byte{0xff});
  }

  /// This rank's columns, both triangles; NaN beyond the matrix.
  static MatrixView<Value> distribute(const HostMatrix<Value>& A, const BlockCyclic& layout,
                                      int rank, Storage& mine) {
    const index_t ld = layout.columns();
    mine.A.assign(static_cast<std::size_t>(ld * layout.local_columns()), quiet_nan<Value>());
    const MatrixView<Value> M(mine.A.data(), ld, layout.local_columns(), ld);
    for (index_t j = 0; j < A.cols(); ++j) {
      const jaxmg::ColumnPlace place = layout.cyclic_place(j);
      if (place.rank == rank) std::copy_n(&A(0, j), A.rows(), &M(0, place.local));
    }
    return M;
  }

  /// Neighbouring rows, some more the higher the rank; rank 0 of several has none if n < P^2.
  static MatrixView<Value> rows_of_identity(const BlockCyclic& layout, int rank, Storage& mine) {
    const index_t n = layout.order(), P_ = layout.ranks();
    const auto first = [&](index_t p) { return n * p * p / (P_ * P_); };
    const index_t count = first(rank + 1) - first(rank);
    mine.U.assign(static_cast<std::size_t>(n * count), Value(0));
    const MatrixView<Value> U(mine.U.data(), count, n, count);
    for (index_t j = 0; j < count; ++j) U(j, first(rank) + j) = Value(1);
    return U;
  }

  static void expect_same_band(MatrixView<Value> expected, MatrixView<Value> band) {
    for (index_t j = 0; j < band.cols; ++j) {
      for (index_t i = 0; i < band.rows; ++i) {
        const bool both_nan = expected(i, j) != expected(i, j) && band(i, j) != band(i, j);
        EXPECT_TRUE(expected(i, j) == band(i, j) || both_nan) << i << ", " << j;
        EXPECT_TRUE(i + j < band.cols || band(i, j) == Value(0));
      }
      EXPECT_EQ(std::imag(band(0, j)), 0);
    }
  }

  static HostMatrix<Value> full(MatrixView<Value> band) {
    HostMatrix<Value> B(band.cols, band.cols);
    for (index_t j = 0; j < band.cols; ++j) {
      for (index_t i = 0; i < band.rows && i + j < band.cols; ++i) {
        B(j, i + j) = conjugate(band(i, j));
        B(i + j, j) = band(i, j);
      }
    }
    return B;
  }
};
TYPED_TEST_SUITE(BandReduction, jaxmg::testing::OnAllKinds, jaxmg::testing::KindNames);

TYPED_TEST(BandReduction, OfEveryOrder) {
  using T = typename TypeParam::type;
  for (const index_t n : {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 13, 31, 37, 64}) {
    const HostMatrix<T> A = make_eigen_matrix<T>(EigenKind::random, n);
    this->expect_reduces(A, {1, 16, {4, 8}});
    this->expect_reduces(A, {2, 8, {4, 16}});
    this->expect_reduces(A, {3, 5, {4, 4}, 2});
  }
}

TYPED_TEST(BandReduction, OnEveryTeamAndTile) {
  using T = typename TypeParam::type;
  const HostMatrix<T> A = make_eigen_matrix<T>(EigenKind::random, 45);
  for (const int ranks : {1, 2, 3, 4, 8}) {
    for (const index_t tile : {1, 3, 8, 10, 64}) {
      if ((tile == 1 || tile == 64) && ranks % 2 == 0) continue;
      this->expect_reduces(A, {ranks, tile, {4, 16}, ranks == 3 ? 5 : 0});
    }
  }
}

TYPED_TEST(BandReduction, OfEveryBandwidthAndBlock) {
  using T = typename TypeParam::type;
  const HostMatrix<T> A = make_eigen_matrix<T>(EigenKind::random, 40);
  for (const index_t bandwidth : {1, 4, 8, 32, 38, 39, 40, 60}) {
    for (const index_t blocks : {1, 2, 4}) {
      const BandReductionSizes sizes{bandwidth, blocks * bandwidth};
      this->expect_reduces(A, blocks == 2 ? Way{1, 24, sizes} : Way{2, 12, sizes});
    }
    this->expect_reduces(A, {3, 20, {bandwidth, bandwidth + 3}});
  }
}

TYPED_TEST(BandReduction, OfEveryKindOfMatrix) {
  using T = typename TypeParam::type;
  for (const EigenKind kind : all_eigen_kinds) {
    if (kind == EigenKind::nan) continue;
    SCOPED_TRACE(to_string(kind));
    const HostMatrix<T> A = make_eigen_matrix<T>(kind, 50);
    this->expect_reduces(A, {3, 11, {4, 16}});
    this->expect_reduces(A, {2, 32, {32, 64}});
  }
}

TYPED_TEST(BandReduction, EndsWithNanForNan) {
  using T = typename TypeParam::type;
  for (const int ranks : {1, 3}) {
    const HostMatrix<T> A = make_eigen_matrix<T>(EigenKind::nan, 40);
    EXPECT_TRUE(std::isnan(norm1(this->reduce(A, {ranks, 6, {4, 8}}).B)));
  }
}

TYPED_TEST(BandReduction, UnderRandomScheduling) {
  using T = typename TypeParam::type;
  const HostMatrix<T> A = make_eigen_matrix<T>(EigenKind::random, 40);
  for (const unsigned seed : {1U, 2U}) {
    jaxmg::set_cpu_chaos(seed, 100);
    for (const int ranks : {1, 2, 4}) this->expect_reduces(A, {ranks, 5, {4, 12}});
  }
}

}  // namespace
