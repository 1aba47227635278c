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
/// of the block layout.
inline std::vector<Piece> pieces(const BlockCyclic& layout) {
  std::vector<Piece> result;
  for (index_t j = 0; j < layout.tiles(); ++j) {
    for (index_t column = layout.offset(j); column < layout.offset(j + 1);) {
      const ColumnPlace block = layout.block_place(column);
      const index_t rank_end = column - block.local + layout.local_columns();
      const index_t end = std::min(layout.offset(j + 1), rank_end);
      result.push_back({column, end - column, block, layout.cyclic_place(column)});
      column = end;
    }
  }
  return result;
}

}  // namespace jaxmg
