// Runs of columns that are contiguous in both layouts.
#pragma once

#include <algorithm>
#include <vector>

#include "distribution/block_cyclic.hpp"

namespace jaxmg {

/// `width` neighbouring columns, whole on one rank in the block and in the cyclic layout.
struct Piece {
  index_t column;
  index_t width;
  ColumnPlace block;
  ColumnPlace cyclic;
};

/// All columns below the order, left to right. A tile column is cut where it crosses a rank border
/// of the block layout. The two layouts are of one matrix, perhaps in storage of different sizes.
inline std::vector<Piece> pieces(const BlockCyclic& of_blocks, const BlockCyclic& of_tiles) {
  std::vector<Piece> result;
  for (index_t j = 0; j < of_tiles.tiles(); ++j) {
    for (index_t column = of_tiles.offset(j); column < of_tiles.offset(j + 1);) {
      const ColumnPlace block = of_blocks.block_place(column);
      const index_t rank_end = column - block.local + of_blocks.local_columns();
      const index_t end = std::min(of_tiles.offset(j + 1), rank_end);
      result.push_back({column, end - column, block, of_tiles.cyclic_place(column)});
      column = end;
    }
  }
  return result;
}

inline std::vector<Piece> pieces(const BlockCyclic& layout) { return pieces(layout, layout); }

}  // namespace jaxmg
