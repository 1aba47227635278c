// The schedule of the reduction to band form, and its operations beside the panels' QR.
#include <gtest/gtest.h>

#include "api/band_reduction_plan.hpp"
#include "dense_algebra.hpp"
#include "kinds.hpp"
#include "testing/matrices.hpp"
#include "testing/residuals.hpp"

namespace {

using jaxmg::BandPanel;
using jaxmg::BlockCyclic;
using jaxmg::index_t;
using jaxmg::real_t;
using jaxmg::wide_t;
using jaxmg::testing::Shared;
using namespace jaxmg_testing;
using namespace jaxmg::testing;

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

}  // namespace
