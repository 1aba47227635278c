// The panels of a reduction to band form: which columns, on which rank. Arithmetic only.
#pragma once

#include <vector>

#include "distribution/block_cyclic.hpp"

namespace jaxmg {

/// Neighbouring columns of one tile column that are reduced together. Their reflectors act on the
/// rows from `first_row` = column + bandwidth on, so that the bandwidth is kept exactly, however
/// narrow a panel is; and there are more rows than columns.
struct BandPanel {
  index_t column;     ///< first column, in the matrix
  index_t width;      ///< at least 1
  index_t first_row;  ///< of its reflectors
  index_t tile;

  index_t end() const { return column + width; }
};

/// All panels in order. Columns with at most one row below the band need none.
inline std::vector<BandPanel> band_panels(const BlockCyclic& layout, index_t bandwidth) {
  std::vector<BandPanel> panels;
  const index_t end = layout.order() - bandwidth - 1;
  for (index_t j = 0; j < layout.tiles(); ++j) {
    const index_t tile_end = std::min(layout.offset(j + 1), end);
    for (index_t c = layout.offset(j); c < tile_end; c += bandwidth) {
      panels.push_back({c, std::min(bandwidth, tile_end - c), c + bandwidth, j});
    }
  }
  return panels;
}

/// How many columns before `panel`'s end, its own included, a rank holds: those from there on are
/// the trailing ones.
inline index_t local_end(const BlockCyclic& layout, int rank, const BandPanel& panel) {
  if (layout.owner(panel.tile) != rank) return layout.local_columns_before(rank, panel.tile);
  return layout.local_offset(panel.tile) + panel.end() - layout.offset(panel.tile);
}

/// Indices from begin to end - 1.
struct IndexRange {
  index_t begin, end;
};

/// Calls f(range, local_range) for each tile from `first_tile` on that `rank` owns and that has
/// columns from `begin` on: where these columns are in the matrix, and among the rank's own.
template <class F>
void each_local_range(const BlockCyclic& layout, int rank, index_t first_tile, index_t begin,
                      const F& f) {
  for (index_t j = layout.first_owned(rank, first_tile); j < layout.tiles(); j += layout.ranks()) {
    const index_t first = std::max(layout.offset(j), begin), end = layout.offset(j + 1);
    const index_t shift = layout.local_offset(j) - layout.offset(j);
    if (first < end) f(IndexRange{first, end}, IndexRange{first + shift, end + shift});
  }
}

}  // namespace jaxmg
