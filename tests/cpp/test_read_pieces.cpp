// What is read from another process's GPU is cut into pieces: all of it, once, and none too large.
#include <set>
#include <utility>

#include <gtest/gtest.h>

#include "team/read_pieces.hpp"

namespace jaxmg {
namespace {

TEST(ReadPieces, CoverEachByteOnce) {
  for (const index_t most : {1, 5, 7, 16}) {
    for (index_t height = 0; height < 20; ++height) {
      for (index_t columns = 0; columns < 20; ++columns) {
        const ReadPieces pieces(height, columns, most);
        std::set<std::pair<index_t, index_t>> seen;
        for (index_t k = 0; k < pieces.count(); ++k) {
          const ReadPiece piece = pieces.piece(k);
          ASSERT_GT(piece.height * piece.columns, 0);
          ASSERT_LE(piece.height * piece.columns, most);
          ASSERT_TRUE(piece.columns == 1 || piece.height == height);
          for (index_t j = 0; j < piece.columns; ++j) {
            for (index_t i = 0; i < piece.height; ++i) {
              ASSERT_TRUE(seen.emplace(piece.row + i, piece.column + j).second);
            }
          }
        }
        ASSERT_EQ(static_cast<index_t>(seen.size()), height * columns);
        if (!seen.empty()) {
          ASSERT_EQ(*seen.rbegin(), std::pair(height - 1, columns - 1));
        }
      }
    }
  }
}

TEST(ReadPieces, WholeColumnsWhereTheyFit) {
  EXPECT_EQ(ReadPieces(100, 10, 1000).count(), 1);
  EXPECT_EQ(ReadPieces(100, 11, 1000).count(), 2);
  EXPECT_EQ(ReadPieces(100, 10, 999).count(), 2);
  EXPECT_EQ(ReadPieces(1001, 3, 1000).count(), 6);
}

}  // namespace
}  // namespace jaxmg
