// Reduction to band form and its back-transform: the schedule, the panel's QR with its guards, and
// the whole as rank programs.
#include <cmath>

#include <gtest/gtest.h>

#include "api/band_reduction_plan.hpp"
#include "kinds.hpp"
#include "testing/eigen_matrices.hpp"
#include "testing/matrices.hpp"
#include "testing/residuals.hpp"

namespace {

using jaxmg::BandPanel;
using jaxmg::BandReductionSizes;
using jaxmg::BlockCyclic;
using jaxmg::conjugate;
using jaxmg::index_t;
using jaxmg::PanelRoute;
using jaxmg::real_t;
using jaxmg::wide_t;
using jaxmg::testing::Shared;
using namespace jaxmg_testing;

constexpr double bound = 10;

// ---- Dense algebra in double precision
// ------------------------------------------------------------

template <jaxmg::Scalar T>
HostMatrix<wide_t<T>> widened(const HostMatrix<T>& A) {
  HostMatrix<wide_t<T>> wide(A.rows(), A.cols());
  std::transform(A.values().begin(), A.values().end(), wide.view().data,
                 [](const T& entry) { return wide_t<T>(entry); });
  return wide;
}

template <class W>
HostMatrix<W> conj_transposed(const HostMatrix<W>& A) {
  HostMatrix<W> result(A.cols(), A.rows());
  for (index_t j = 0; j < A.cols(); ++j) {
    for (index_t i = 0; i < A.rows(); ++i) result(j, i) = conjugate(A(i, j));
  }
  return result;
}

/// C - A B
template <class W>
HostMatrix<W> minus_product(HostMatrix<W> C, const HostMatrix<W>& A, const HostMatrix<W>& B) {
  for (index_t j = 0; j < C.cols(); ++j) {
    for (index_t k = 0; k < A.cols(); ++k) {
      const W factor = B(k, j);
      for (index_t i = 0; i < C.rows(); ++i) C(i, j) -= A(i, k) * factor;
    }
  }
  return C;
}

template <class W>
HostMatrix<W> negative_product(const HostMatrix<W>& A, const HostMatrix<W>& B) {
  return minus_product(HostMatrix<W>(A.rows(), B.cols()), A, B);
}

template <class W>
HostMatrix<W> identity(index_t n) {
  HostMatrix<W> I(n, n);
  for (index_t i = 0; i < n; ++i) I(i, i) = W(1);
  return I;
}

/// What no operation may expect anything of.
template <jaxmg::Scalar T>
HostMatrix<T> filled_with_nan(index_t rows, index_t cols) {
  HostMatrix<T> A(rows, cols);
  std::fill_n(A.view().data, A.values().size(), quiet_nan<T>());
  return A;
}

/// ||A||_1; NaN if there is one.
template <jaxmg::Scalar T>
double norm1(const HostMatrix<T>& A) {
  double largest = 0;
  for (index_t j = 0; j < A.cols(); ++j) {
    double sum = 0;
    for (index_t i = 0; i < A.rows(); ++i) sum += std::abs(A(i, j));
    largest = sum > largest || std::isnan(sum) ? sum : largest;
    if (std::isnan(largest)) break;
  }
  return largest;
}

template <jaxmg::Scalar T>
double scaled(double error, index_t n, double norm) {
  if (error == 0) return 0;
  return error / (static_cast<double>(n) * std::numeric_limits<real_t<T>>::epsilon() * norm);
}

// ---- The schedule
// ---------------------------------------------------------------------------------

TEST(BandPanels, CoverWhatNeedsReducingWithinTiles) {
  for (const index_t bandwidth : {1, 2, 3, 5, 16}) {
    for (const int ranks : {1, 2, 3}) {
      for (const index_t tile : {1, 2, 3, 4, 7}) {
        for (index_t order = 0; order <= 24; ++order) {
          const BlockCyclic layout((order + ranks - 1) / ranks * ranks + ranks, ranks, tile, order);
          index_t column = 0;
          for (const BandPanel& panel : jaxmg::band_panels(layout, bandwidth)) {
            EXPECT_EQ(panel.column, column);
            EXPECT_GE(panel.width, 1);
            EXPECT_LE(panel.width, bandwidth);
            EXPECT_EQ(panel.first_row, panel.column + bandwidth);
            EXPECT_GT(order - panel.first_row, panel.width);
            EXPECT_GE(panel.column, layout.offset(panel.tile));
            EXPECT_LE(panel.end(), layout.offset(panel.tile + 1));
            column = panel.end();
          }
          // No column that is left has more than one row below its first `bandwidth`.
          EXPECT_EQ(column, std::max<index_t>(0, order - bandwidth - 1));
        }
      }
    }
  }
}

TEST(BandPanels, TrailingColumnsAreWhatRanksHold) {
  for (const int ranks : {1, 2, 3}) {
    for (const index_t tile : {1, 3, 7}) {
      for (const index_t order : {1, 8, 23, 24}) {
        const BlockCyclic layout((order + ranks - 1) / ranks * ranks + ranks, ranks, tile, order);
        for (const BandPanel& panel : jaxmg::band_panels(layout, 2)) {
          std::vector<index_t> found(static_cast<std::size_t>(ranks), 0);
          for (index_t j = panel.end(); j < order; ++j) {
            const jaxmg::ColumnPlace place = layout.cyclic_place(j);
            const auto its = jaxmg::trailing_columns(layout, place.rank, panel);
            const index_t r = found[static_cast<std::size_t>(place.rank)]++;
            EXPECT_EQ(its.local_begin + r, place.local);
            EXPECT_EQ(its.begin + its.places(r), j);
          }
          for (int p = 0; p < ranks; ++p) {
            EXPECT_EQ(jaxmg::trailing_columns(layout, p, panel).count,
                      found[static_cast<std::size_t>(p)]);
          }
        }
      }
    }
  }
}

// ---- Operations
// -----------------------------------------------------------------------------------

template <class P>
class BandOperations : public jaxmg::testing::KindTest<typename P::Kind> {
 protected:
  using Ops = typename P::Kind::Backend;

  void SetUp() override {
    jaxmg::testing::KindTest<typename P::Kind>::SetUp();
    jaxmg::cpu::set_permits(2);
  }

  /// Runs work(queue) to its end.
  template <class Work>
  static void run(const Work& work) {
    const auto device = P::Kind::device();
    typename Ops::Queue queue(*device, jaxmg::Priority::normal);
    work(queue);
    queue.synchronize();
  }
  /// What an operation makes of a number that is `before`.
  template <class Work>
  static std::int32_t number_after(std::int32_t before, const Work& work) {
    typename P::Kind::template Vector<std::int32_t> number(1, before);
    std::int32_t after = 0;
    run([&](auto& queue) {
      work(queue, number.data());
      Ops::download(queue, number.data(), 1, &after);
    });
    return after;
  }
};
TYPED_TEST_SUITE(BandOperations, jaxmg::testing::OnAllKinds, jaxmg::testing::KindNames);

TYPED_TEST(BandOperations, MarkZero) {
  using T = typename TypeParam::type;
  using B = typename TypeParam::Kind::Backend;
  const auto marked = [&](T last) {
    HostMatrix<T> host(5, 3);
    host(4, 2) = last;
    Shared<typename TypeParam::Kind, T> A(host);
    return this->number_after(
        7, [&](auto& queue, auto* info) { B::template mark_zero<T>(queue, A.view(), info); });
  };
  EXPECT_EQ(marked(T(0)), jaxmg::is_zero);
  EXPECT_EQ(marked(T(std::numeric_limits<real_t<T>>::denorm_min())), 0);
  EXPECT_EQ(marked(quiet_nan<T>()), 0);
}

TYPED_TEST(BandOperations, ExpectIdentity) {
  using T = wide_t<typename TypeParam::type>;
  using B = typename TypeParam::Kind::Backend;
  const auto outcome = [&](std::int32_t before, T corner) {
    HostMatrix<T> host = identity<T>(3);
    host(2, 0) = host(0, 2) = corner;
    Shared<typename TypeParam::Kind, T> G(host);
    return this->number_after(before, [&](auto& queue, auto* info) {
      B::template expect_identity<T>(queue, G.view(), 0.1, info);
    });
  };
  EXPECT_EQ(outcome(0, T(0.07)), 0);
  EXPECT_EQ(outcome(0, T(0.08)), 1);
  EXPECT_EQ(outcome(0, quiet_nan<T>()), 1);
  EXPECT_EQ(outcome(3, T(0)), 3);
  EXPECT_EQ(outcome(jaxmg::is_zero, quiet_nan<T>()), jaxmg::is_zero);
}

TYPED_TEST(BandOperations, Convert) {
  using T = typename TypeParam::type;
  using W = wide_t<T>;
  using B = typename TypeParam::Kind::Backend;
  const HostMatrix<T> host = random_matrix<T>(5, 3, 1);
  Shared<typename TypeParam::Kind, T> A(host), back(5, 3);
  Shared<typename TypeParam::Kind, W> wide(5, 3);
  this->run([&](auto& queue) {
    B::template convert<T, W>(queue, A.view(), wide.view());
    B::template convert<W, T>(queue, wide.view(), back.view());
  });
  EXPECT_EQ(back.host().values(), host.values());
  EXPECT_EQ(wide.host()(4, 2), W(host(4, 2)));
}

TYPED_TEST(BandOperations, UnitLower) {
  using T = typename TypeParam::type;
  using B = typename TypeParam::Kind::Backend;
  for (const index_t rows : {2, 3, 6}) {
    const HostMatrix<T> host = random_matrix<T>(rows, 3, 1);
    Shared<typename TypeParam::Kind, T> A(host);
    this->run([&](auto& queue) { B::template unit_lower<T>(queue, A.view()); });
    const HostMatrix<T> result = A.host();
    for (index_t j = 0; j < 3; ++j) {
      for (index_t i = 0; i < rows; ++i) {
        EXPECT_EQ(result(i, j), i < j ? T(0) : i == j ? T(1) : host(i, j));
      }
    }
  }
}

TYPED_TEST(BandOperations, CopyBand) {
  using T = typename TypeParam::type;
  using B = typename TypeParam::Kind::Backend;
  for (const index_t rows : {3, 5, 9}) {
    const HostMatrix<T> host = random_matrix<T>(rows, 3, 1);
    Shared<typename TypeParam::Kind, T> A(host), band(4, 3);
    this->run([&](auto& queue) { B::template copy_band<T>(queue, A.view(), band.view()); });
    const HostMatrix<T> result = band.host();
    for (index_t j = 0; j < 3; ++j) {
      EXPECT_EQ(result(0, j), T(std::real(host(j, j))));
      for (index_t i = 1; i < 4; ++i) {
        EXPECT_EQ(result(i, j), i + j < rows ? host(i + j, j) : T(0));
      }
    }
  }
}

TYPED_TEST(BandOperations, RowsOfTilesAreSpreadAndCollected) {
  using T = typename TypeParam::type;
  using Kind = typename TypeParam::Kind;
  using B = typename Kind::Backend;
  for (const jaxmg::TiledRows& places : {jaxmg::TiledRows{3, 7, 0, 8, 0},
                                         {3, 7, 2, 8, 0},
                                         {3, 7, 3, 8, 0},
                                         {1, 5, 0, 8, 0},
                                         {3, 7, 1, 5, 19},
                                         {4, 6, 0, 0, 0}}) {
    for (const index_t rows : {0, 1, 4, 8}) {
      const HostMatrix<T> host = random_matrix<T>(rows, 2, 1), others = random_matrix<T>(50, 2, 2);
      Shared<Kind, T> from(host), to(others), back(rows, 2);
      this->run([&](auto& queue) {
        B::template spread_rows<T>(queue, from.view(), places, to.view());
        B::template collect_rows<T>(queue, to.view(), places, back.view());
      });
      EXPECT_EQ(back.host().values(), host.values());
      HostMatrix<T> expected = others;
      // Rows one after the other, tile by tile.
      index_t row = 0, left = places.tile - places.skipped;
      for (index_t i = 0; i < rows; ++i, ++row, --left) {
        if (i == places.regular) {
          row = places.last;
          left = rows;
        }
        if (left == 0) {
          row += places.step - places.tile;
          left = places.tile;
        }
        for (index_t j = 0; j < 2; ++j) expected(row, j) = host(i, j);
      }
      EXPECT_EQ(to.host().values(), expected.values());
    }
  }
}

// ---- The panel's QR
// -------------------------------------------------------------------------------

struct PanelSize {
  index_t rows, cols;
};

template <class P>
class PanelQr : public jaxmg::testing::KindTest<typename P::Kind> {
 protected:
  using Value = typename P::type;
  using W = wide_t<Value>;
  using B = typename P::Kind::Backend;

  void SetUp() override {
    jaxmg::testing::KindTest<typename P::Kind>::SetUp();
    jaxmg::cpu::set_permits(2);
  }

  struct Result {
    PanelRoute route;
    HostMatrix<Value> A;  ///< Y below the diagonal, R on it and above
    HostMatrix<Value> factor;
  };

  Result factor(const HostMatrix<Value>& A) {
    const index_t m = A.rows(), w = A.cols();
    Shared<typename P::Kind, Value> panel(A), factor(filled_with_nan<Value>(w, w));
    Shared<typename P::Kind, W> wide(filled_with_nan<W>(m, w)), small(filled_with_nan<W>(w, 5 * w));
    typename P::Kind::template Vector<std::int32_t> info(1, 77);
    const auto device = P::Kind::device();
    typename B::Queue queue(*device, jaxmg::Priority::normal);
    Result result;
    result.route = jaxmg::panel_qr<B, Value>(queue, panel.view(), factor.view(),
                                             {wide.view(), small.view(), info.data()});
    queue.synchronize();
    result.A = panel.host();
    result.factor = factor.host();
    return result;
  }

  /// I - Y factor Y^H, all of it.
  static HostMatrix<Value> unitary(const Result& result) {
    const index_t m = result.A.rows(), w = result.A.cols();
    HostMatrix<W> Y = widened(result.A);
    for (index_t j = 0; j < w; ++j) {
      for (index_t i = 0; i < j; ++i) Y(i, j) = W(0);
      Y(j, j) = W(1);
    }
    const auto minus_YT = negative_product(Y, widened(result.factor));
    const auto Q = minus_product(negative_product(minus_YT, conj_transposed(Y)), identity<W>(m),
                                 identity<W>(m));
    HostMatrix<Value> rounded(m, m);
    for (index_t j = 0; j < m; ++j) {
      for (index_t i = 0; i < m; ++i) rounded(i, j) = Value(-Q(i, j));
    }
    return rounded;
  }

  /// U D V^H with random unitary U and V, D from 1 down to 1 / kappa, geometrically.
  HostMatrix<Value> with_condition(PanelSize size, double kappa, unsigned seed) {
    const index_t m = size.rows, w = size.cols;
    auto UD = widened(unitary(factor(random_matrix<Value>(m, w, seed))));
    const auto V = widened(unitary(factor(random_matrix<Value>(w, w - 1, seed + 1))));
    for (index_t k = 0; k < m; ++k) {
      const double d =
          k < w ? -std::pow(kappa, -static_cast<double>(k) / static_cast<double>(w - 1)) : 0;
      for (index_t i = 0; i < m; ++i) UD(i, k) *= d;
    }
    HostMatrix<W> wide_V(m, w);
    for (index_t j = 0; j < w; ++j) std::copy_n(&V(0, j), w, &wide_V(0, j));
    const auto product = negative_product(UD, wide_V);
    HostMatrix<Value> A(m, w);
    std::transform(product.values().begin(), product.values().end(), A.view().data,
                   [](const W& entry) { return Value(entry); });
    return A;
  }

  static void expect_factors(const HostMatrix<Value>& A, const Result& result) {
    const index_t m = A.rows(), w = A.cols();
    for (index_t j = 0; j < w; ++j) {
      for (index_t i = j + 1; i < w; ++i) EXPECT_EQ(result.factor(i, j), Value(0));
    }
    const HostMatrix<Value> Q = unitary(result);
    EXPECT_LT(orthogonality_residual(Q), bound);
    HostMatrix<W> R(m, w);
    for (index_t j = 0; j < w; ++j) {
      for (index_t i = 0; i <= j; ++i) R(i, j) = W(result.A(i, j));
    }
    const double error = norm1(minus_product(widened(A), widened(Q), R));
    EXPECT_LT(scaled<Value>(error, m, norm1(A)), bound);
  }
};
TYPED_TEST_SUITE(PanelQr, jaxmg::testing::OnAllKinds, jaxmg::testing::KindNames);

constexpr PanelSize panel_sizes[] = {{2, 1}, {3, 2}, {5, 4}, {9, 8}, {40, 8}, {70, 33}};

/// random(m, w) scaled column by column: column j by base^j.
template <jaxmg::Scalar T>
HostMatrix<T> scaled_columns(PanelSize size, double base) {
  HostMatrix<T> A = random_matrix<T>(size.rows, size.cols, 3);
  for (index_t j = 0; j < size.cols; ++j) {
    for (index_t i = 0; i < size.rows; ++i) {
      A(i, j) *= static_cast<real_t<T>>(std::pow(base, static_cast<double>(j)));
    }
  }
  return A;
}

/// Columns that differ from their left neighbour by `distance`: condition about 1 / distance.
template <jaxmg::Scalar T>
HostMatrix<T> near_copies(PanelSize size, double distance) {
  HostMatrix<T> A = random_matrix<T>(size.rows, size.cols, 5);
  for (index_t j = 1; j < size.cols; ++j) {
    for (index_t i = 0; i < size.rows; ++i) {
      A(i, j) = A(i, j - 1) + static_cast<real_t<T>>(distance) * A(i, j);
    }
  }
  return A;
}

TYPED_TEST(PanelQr, TakesCholeskyForIndependentColumns) {
  using T = typename TypeParam::type;
  for (const PanelSize size : panel_sizes) {
    SCOPED_TRACE(::testing::Message() << size.rows << " x " << size.cols);
    const HostMatrix<T> A = random_matrix<T>(size.rows, size.cols, 1);
    const auto result = this->factor(A);
    EXPECT_EQ(result.route, PanelRoute::cholesky_qr);
    this->expect_factors(A, result);
  }
}

TYPED_TEST(PanelQr, TakesCholeskyInDoublePrecisionWhereSinglesWouldFail) {
  using T = typename TypeParam::type;
  const HostMatrix<T> A = near_copies<T>({60, 4}, 1e-5);
  const auto result = this->factor(A);
  EXPECT_EQ(result.route, PanelRoute::cholesky_qr);
  this->expect_factors(A, result);
}

TYPED_TEST(PanelQr, HasNothingToDoForZeros) {
  using T = typename TypeParam::type;
  for (const PanelSize size : panel_sizes) {
    const auto result = this->factor(HostMatrix<T>(size.rows, size.cols));
    EXPECT_EQ(result.route, PanelRoute::nothing);
    for (const T& entry : result.A.values()) EXPECT_EQ(entry, T(0));
    for (const T& entry : result.factor.values()) EXPECT_EQ(entry, T(0));
  }
}

TYPED_TEST(PanelQr, TakesHouseholderForDependentColumns) {
  using T = typename TypeParam::type;
  for (const PanelSize size : panel_sizes) {
    if (size.cols == 1) continue;
    SCOPED_TRACE(::testing::Message() << size.rows << " x " << size.cols);
    HostMatrix<T> rank_one = random_matrix<T>(size.rows, size.cols, 1), last_only = rank_one;
    for (index_t j = 1; j < size.cols; ++j) {
      std::copy_n(&rank_one(0, 0), size.rows, &rank_one(0, j));
    }
    // What a tridiagonal matrix leaves below its band.
    std::fill_n(last_only.view().data, size.rows * size.cols, T(0));
    last_only(0, size.cols - 1) = T(1);
    for (const HostMatrix<T>& A : {rank_one, last_only}) {
      const auto result = this->factor(A);
      EXPECT_EQ(result.route, PanelRoute::householder);
      this->expect_factors(A, result);
    }
  }
}

TYPED_TEST(PanelQr, TakesHouseholderWhereTheFirstPassIsFarFromOrthonormal) {
  using T = typename TypeParam::type;
  // From a condition of 1 / sqrt(eps) on, some have two positive definite Gram matrices and yet no
  // orthonormal Q.
  int householder = 0;
  unsigned seed = 0;
  for (double kappa = 1e7; kappa < 1e14; kappa *= 1.2) {
    SCOPED_TRACE(kappa);
    const HostMatrix<T> A = this->with_condition({24, 7}, kappa, ++seed);
    const auto result = this->factor(A);
    householder += result.route == PanelRoute::householder ? 1 : 0;
    this->expect_factors(A, result);
  }
  EXPECT_GT(householder, 0);
}

TYPED_TEST(PanelQr, HoldsForColumnsOfAnySize) {
  using T = typename TypeParam::type;
  const bool is_double = sizeof(real_t<T>) == sizeof(double);
  for (const double base : {is_double ? 1e-20 : 1e-4, is_double ? 1e-40 : 1e-6}) {
    const HostMatrix<T> A = scaled_columns<T>({40, 7}, base);
    this->expect_factors(A, this->factor(A));
  }
}

TYPED_TEST(PanelQr, EndsWithNanForNan) {
  using T = typename TypeParam::type;
  HostMatrix<T> A = random_matrix<T>(30, 5, 1);
  A(7, 2) = quiet_nan<T>();
  const auto result = this->factor(A);
  EXPECT_EQ(result.route, PanelRoute::householder);
  EXPECT_TRUE(std::isnan(norm1(result.A)));
}

// ---- The whole
// ------------------------------------------------------------------------------------

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
