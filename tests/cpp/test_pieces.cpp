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

void check_pieces(const BlockCyclic& layout) {
  index_t column = 0;
  for (const Piece& piece : pieces(layout)) {
    ASSERT_EQ(piece.column, column) << describe(layout);
    ASSERT_GT(piece.width, 0) << describe(layout);
    ASSERT_EQ(piece.block, layout.block_place(column)) << describe(layout);
    ASSERT_EQ(piece.cyclic, layout.cyclic_place(column)) << describe(layout);
    // Contiguous in both layouts, from its first column to its last.
    const index_t last = column + piece.width - 1;
    ASSERT_TRUE(follows(piece.block, piece.width - 1, layout.block_place(last)))
        << describe(layout);
    ASSERT_TRUE(follows(piece.cyclic, piece.width - 1, layout.cyclic_place(last)))
        << describe(layout);
    column += piece.width;
  }
  ASSERT_EQ(column, layout.order()) << describe(layout);
}

TEST(Pieces, CoverTheOrderAndAreContiguousInBothLayouts) {
  for_each_layout(64, 8, [](const BlockCyclic& layout) {
    for (const index_t order : {layout.columns(), layout.columns() / 2, layout.columns() - 1}) {
      if (order < 0) continue;
      check_pieces({layout.columns(), layout.ranks(), layout.tile(), order});
    }
    return !::testing::Test::HasFailure();
  });
}

TEST(Pieces, AreWholeTilesWhereTheyDivideTheShard) {
  for (const Piece& piece : pieces(BlockCyclic(4 * 12, 4, 3))) EXPECT_EQ(piece.width, 3);
}

}  // namespace
}  // namespace jaxmg
