#include <gtest/gtest.h>

#include "distribution/block_cyclic.hpp"
#include "layouts.hpp"

namespace jaxmg {
namespace {

using testing::deal;
using testing::describe;
using testing::for_each_layout;

constexpr index_t max_columns = 64;
constexpr int max_ranks = 8;

TEST(BlockCyclic, CyclicPlacesAreDealtInTurn) {
  for_each_layout(max_columns, max_ranks, [](const BlockCyclic& layout) {
    const std::vector<ColumnPlace> dealt = deal(layout);
    EXPECT_EQ(static_cast<index_t>(dealt.size()), layout.columns());
    for (index_t column = 0; column < layout.columns(); ++column) {
      EXPECT_EQ(layout.cyclic_place(column), dealt[static_cast<std::size_t>(column)])
          << "column " << column << " of " << describe(layout);
    }
    return !::testing::Test::HasFailure();
  });
}

TEST(BlockCyclic, BothPlacesAreBijections) {
  for_each_layout(max_columns, max_ranks, [](const BlockCyclic& layout) {
    const auto columns = static_cast<std::size_t>(layout.columns());
    std::vector<index_t> block(columns, -1), cyclic(columns, -1);
    const auto enter = [&](std::vector<index_t>& held, ColumnPlace place, index_t column) {
      EXPECT_TRUE(place.rank >= 0 && place.rank < layout.ranks()) << describe(layout);
      EXPECT_TRUE(place.local >= 0 && place.local < layout.local_columns()) << describe(layout);
      index_t& slot =
          held.at(static_cast<std::size_t>(place.rank * layout.local_columns() + place.local));
      EXPECT_EQ(slot, -1) << describe(layout);
      slot = column;
    };
    for (index_t column = 0; column < layout.columns(); ++column) {
      enter(block, layout.block_place(column), column);
      enter(cyclic, layout.cyclic_place(column), column);
    }
    // JAX's order is the block layout: reading the ranks one after the other counts up.
    for (std::size_t slot = 0; slot < columns; ++slot) {
      EXPECT_EQ(block[slot], static_cast<index_t>(slot)) << describe(layout);
      EXPECT_NE(cyclic[slot], -1) << describe(layout);
    }
    return !::testing::Test::HasFailure();
  });
}

/// What holds for the tile columns of any layout and order.
void check_tiles(const BlockCyclic& layout) {
  index_t sum = 0;
  for (index_t j = 0; j < layout.tiles(); ++j) {
    ASSERT_EQ(layout.offset(j), sum) << "tile " << j << " of " << describe(layout);
    ASSERT_GT(layout.width(j), 0) << "tile " << j << " of " << describe(layout);
    ASSERT_LE(layout.width(j), layout.tile()) << "tile " << j << " of " << describe(layout);
    const ColumnPlace first{layout.owner(j), layout.local_offset(j)};
    ASSERT_EQ(layout.cyclic_place(layout.offset(j)), first)
        << "tile " << j << " of " << describe(layout);
    const ColumnPlace last{first.rank, first.local + layout.width(j) - 1};
    ASSERT_EQ(layout.cyclic_place(layout.offset(j + 1) - 1), last)
        << "tile " << j << " of " << describe(layout);
    sum += layout.width(j);
  }
  ASSERT_EQ(sum, layout.order()) << describe(layout);
  // Algorithms look one round ahead, past the last tile.
  for (index_t j = layout.tiles(); j <= layout.tiles() + layout.ranks(); ++j) {
    ASSERT_EQ(layout.offset(j), layout.order()) << "tile " << j << " of " << describe(layout);
    ASSERT_EQ(layout.width(j), 0) << "tile " << j << " of " << describe(layout);
  }
}

TEST(BlockCyclic, TilesAddUpToTheOrderAndAreClippedThere) {
  for_each_layout(max_columns, max_ranks, [](const BlockCyclic& layout) {
    for (index_t order = 0; order <= layout.columns(); ++order) {
      check_tiles({layout.columns(), layout.ranks(), layout.tile(), order});
    }
    return !::testing::Test::HasFailure();
  });
}

TEST(BlockCyclic, RanksHoldEquallyManyColumnsInTheLastRaggedRound) {
  const BlockCyclic layout(3 * 10, 3, 4);
  EXPECT_EQ(layout.last_width(), 2);
  EXPECT_EQ(layout.tiles(), 9);
  EXPECT_EQ(layout.width(5), 4);
  EXPECT_EQ(layout.width(6), 2);
  EXPECT_EQ(layout.offset(7), 26);
  EXPECT_EQ(layout.local_offset(8), 8);
}

TEST(BlockCyclic, FirstOwnedIsTheNextTileOfTheRank) {
  for (int ranks = 1; ranks <= max_ranks; ++ranks) {
    const BlockCyclic layout(16 * ranks, ranks, 3);
    for (int rank = 0; rank < ranks; ++rank) {
      for (index_t j = 0; j <= layout.tiles() + 1; ++j) {
        index_t next = j;
        while (layout.owner(next) != rank) ++next;
        EXPECT_EQ(layout.first_owned(rank, j), next);
      }
    }
  }
}

TEST(BlockCyclic, TilesBeforeATileAreARanksFirstColumns) {
  const auto check = [](const BlockCyclic& layout) {
    for (int rank = 0; rank < layout.ranks(); ++rank) {
      index_t held = 0;
      for (index_t j = 0; j <= layout.tiles(); ++j) {
        ASSERT_EQ(layout.local_columns_before(rank, j), held)
            << "tile " << j << ", rank " << rank << " of " << describe(layout);
        if (j < layout.tiles() && layout.owner(j) == rank) held += layout.width(j);
      }
    }
  };
  for_each_layout(24, 4, [&](const BlockCyclic& layout) {
    for (index_t order = 0; order <= layout.columns(); ++order) {
      check(BlockCyclic(layout.columns(), layout.ranks(), layout.tile(), order));
    }
    return !::testing::Test::HasFailure();
  });
}

TEST(BlockCyclic, RefusesWhatIsNoLayout) {
  EXPECT_THROW(BlockCyclic(8, 0, 2), InvalidArgument);
  EXPECT_THROW(BlockCyclic(8, 2, 0), InvalidArgument);
  EXPECT_THROW(BlockCyclic(-2, 2, 1), InvalidArgument);
  EXPECT_THROW(BlockCyclic(9, 2, 1), InvalidArgument);
  EXPECT_THROW(BlockCyclic(8, 2, 1, 9), InvalidArgument);
  EXPECT_THROW(BlockCyclic(8, 2, 1, -1), InvalidArgument);
}

TEST(EvenTile, LeavesNoSliver) {
  EXPECT_EQ(even_tile(0, 7), 7);
  EXPECT_EQ(even_tile(1000, 256), 256);
  EXPECT_EQ(even_tile(257, 256), 160);
  for (index_t local = 1; local <= 600; ++local) {
    for (const index_t tile : {1, 31, 32, 33, 100, 256}) {
      const index_t even = even_tile(local, tile);
      const index_t rounds = (local + tile - 1) / tile;
      EXPECT_EQ(even % 32, 0);
      EXPECT_GE(even * rounds, local) << local << ", tile " << tile;
      EXPECT_LT((even - 32) * rounds, local) << local << ", tile " << tile;
    }
  }
}

/// By the definition: tile k lies on rank k mod P, behind the tiles that rank has already.
TEST(WholeTiles, AreDealtInTurn) {
  for (int ranks = 1; ranks <= 8; ++ranks) {
    for (index_t order = 0; order <= 64; ++order) {
      for (index_t tile = 1; tile <= order + 2; ++tile) {
        const BlockCyclic layout = whole_tiles(order, ranks, tile);
        const index_t tiles = (order + tile - 1) / tile;
        ASSERT_EQ(layout.order(), order);
        ASSERT_EQ(layout.tiles(), tiles);
        ASSERT_EQ(layout.local_columns(), std::max<index_t>(1, (tiles + ranks - 1) / ranks) * tile);
        for (index_t column = 0; column < order; ++column) {
          const index_t k = column / tile;
          ASSERT_EQ(layout.cyclic_place(column),
                    (ColumnPlace{static_cast<int>(k % ranks), k / ranks * tile + column % tile}))
              << describe(layout) << ", column " << column;
        }
      }
    }
  }
}

}  // namespace
}  // namespace jaxmg
