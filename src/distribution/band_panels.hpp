// The panels of a reduction to band form: which columns, on which rank. Arithmetic only.
#pragma once

#include <vector>

#include "distribution/block_cyclic.hpp"
#include "distribution/tiled_rows.hpp"

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

/// Columns of a rank that come after a panel.
struct TrailingColumns {
  index_t local_begin, count;  ///< among the rank's own
  index_t begin;               ///< where the first is in the matrix, if there is one
  TiledRows places;            ///< of all of them, from there on
};

inline TrailingColumns trailing_columns(const BlockCyclic& layout, int rank,
                                        const BandPanel& panel) {
  const index_t done = local_end(layout, rank, panel);
  const index_t count = layout.local_columns_before(rank, layout.tiles()) - done;
  const bool is_owner = layout.owner(panel.tile) == rank;
  const index_t tile = is_owner ? panel.tile : layout.first_owned(rank, panel.tile);
  const index_t begin = is_owner ? panel.end() : layout.offset(tile);
  // The rank's last tile may be narrower than others, and may begin anywhere.
  const index_t last_tile = layout.first_owned(rank, layout.tiles()) - layout.ranks();
  const bool has_others = last_tile > tile;
  return {done,
          count,
          begin,
          {layout.tile(), layout.tile() * layout.ranks(), begin - layout.offset(tile),
           has_others ? layout.local_offset(last_tile) - done : 0,
           has_others ? layout.offset(last_tile) - begin : 0}};
}

}  // namespace jaxmg
