#include <gtest/gtest.h>

#include "distribution/pieces.hpp"
#include "layouts.hpp"

namespace jaxmg {
namespace {

using testing::describe;
using testing::for_each_layout;

bool follows(ColumnPlace first, index_t by, ColumnPlace last) {
  return first.rank == last.rank && first.local + by == last.local;
}

void check_pieces(const BlockCyclic& of_blocks, const BlockCyclic& of_tiles) {
  index_t column = 0;
  for (const Piece& piece : pieces(of_blocks, of_tiles)) {
    ASSERT_EQ(piece.column, column) << describe(of_tiles);
    ASSERT_GT(piece.width, 0) << describe(of_tiles);
    ASSERT_EQ(piece.block, of_blocks.block_place(column)) << describe(of_blocks);
    ASSERT_EQ(piece.cyclic, of_tiles.cyclic_place(column)) << describe(of_tiles);
    // Contiguous in both layouts, from its first column to its last.
    const index_t last = column + piece.width - 1;
    ASSERT_TRUE(follows(piece.block, piece.width - 1, of_blocks.block_place(last)))
        << describe(of_blocks);
    ASSERT_TRUE(follows(piece.cyclic, piece.width - 1, of_tiles.cyclic_place(last)))
        << describe(of_tiles);
    column += piece.width;
  }
  ASSERT_EQ(column, of_tiles.order()) << describe(of_tiles);
}

void check_pieces(const BlockCyclic& layout) { check_pieces(layout, layout); }

TEST(Pieces, CoverTheOrderAndAreContiguousInBothLayouts) {
  for_each_layout(64, 8, [](const BlockCyclic& layout) {
    for (const index_t order : {layout.columns(), layout.columns() / 2, layout.columns() - 1}) {
      if (order < 0) continue;
      check_pieces({layout.columns(), layout.ranks(), layout.tile(), order});
    }
    return !::testing::Test::HasFailure();
  });
}

/// ScaLAPACK's and cuSOLVERMg's layout, from the blocks that JAX hands over.
TEST(Pieces, CoverTheOrderFromBlocksToWholeTiles) {
  for_each_layout(64, 8, [](const BlockCyclic& layout) {
    for (const index_t order : {layout.columns(), layout.columns() / 2, layout.columns() - 1}) {
      if (order < 0) continue;
      check_pieces({layout.columns(), layout.ranks(), layout.tile(), order},
                   whole_tiles(order, layout.ranks(), layout.tile()));
    }
    return !::testing::Test::HasFailure();
  });
}

TEST(Pieces, AreWholeTilesWhereTheyDivideTheShard) {
  for (const Piece& piece : pieces(BlockCyclic(4 * 12, 4, 3))) EXPECT_EQ(piece.width, 3);
}

}  // namespace
}  // namespace jaxmg
