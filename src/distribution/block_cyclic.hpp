// Where each column of a distributed matrix lives: arithmetic only.
#pragma once

#include <algorithm>

#include "jaxmg/error.hpp"
#include "jaxmg/types.hpp"

namespace jaxmg {

/// A column's place: the rank that holds it, and its position among that rank's columns.
struct ColumnPlace {
  int rank;
  index_t local;
  bool operator==(const ColumnPlace&) const = default;
};

/// The two column layouts of an N-column matrix over P ranks, n_loc = N / P columns each.
///
/// *Block* (what JAX hands over): rank p holds columns p n_loc .. (p+1) n_loc - 1.
/// *Cyclic* (what algorithms work on): tile columns of width T are dealt to the ranks in turn. With
/// n_loc = q T + r this is q rounds of tiles of width T, then one round of P tiles of width r, so
/// that every rank holds n_loc columns in both layouts and nothing is ever padded.
///
/// `order` <= N is the true order of the matrix: columns from `order` on are storage that no
/// routine computes with, and a tile column is clipped there.
class BlockCyclic {
 public:
  BlockCyclic(index_t columns, int ranks, index_t tile, index_t order)
      : columns_(columns), order_(order), tile_(tile), ranks_(ranks) {
    if (ranks < 1)
      throw InvalidArgument("ranks: expected at least 1, got " + std::to_string(ranks));
    if (tile < 1) throw InvalidArgument("tile: expected at least 1, got " + std::to_string(tile));
    if (columns < 0 || columns % ranks != 0) {
      throw InvalidArgument("columns: expected a multiple of " + std::to_string(ranks) +
                            " ranks, got " + std::to_string(columns));
    }
    if (order < 0 || order > columns) {
      throw InvalidArgument("order: expected 0 to " + std::to_string(columns) + ", got " +
                            std::to_string(order));
    }
    local_columns_ = columns / ranks;
    full_rounds_ = local_columns_ / tile;
    last_width_ = local_columns_ % tile;
    tiles_ = tiles_below(order);
  }
  BlockCyclic(index_t columns, int ranks, index_t tile)
      : BlockCyclic(columns, ranks, tile, columns) {}

  index_t columns() const { return columns_; }
  index_t order() const { return order_; }
  int ranks() const { return ranks_; }
  index_t tile() const { return tile_; }
  index_t local_columns() const { return local_columns_; }
  /// Width of the tiles of the last, ragged round; 0 when there is none.
  index_t last_width() const { return last_width_; }

  /// Number of tile columns that hold at least one column below `order`.
  index_t tiles() const { return tiles_; }
  int owner(index_t j) const { return static_cast<int>(j % ranks_); }
  /// First column of tile j in the matrix; `order` for j == tiles().
  index_t offset(index_t j) const { return std::min(storage_offset(j), order_); }
  /// Columns of tile j that count.
  index_t width(index_t j) const { return offset(j + 1) - offset(j); }
  /// Position of tile j's first column among its owner's columns.
  index_t local_offset(index_t j) const { return (j / ranks_) * tile_; }
  /// The first tile column from `j` on that `rank` owns (may be >= tiles()).
  index_t first_owned(int rank, index_t j) const {
    return j + ((rank - j) % ranks_ + ranks_) % ranks_;
  }
  /// How many columns of the tiles before `j` a rank holds: they are its first ones.
  index_t local_columns_before(int rank, index_t j) const {
    const index_t last = first_owned(rank, j) - ranks_;
    return last < 0 ? 0 : local_offset(last) + width(last);
  }

  ColumnPlace block_place(index_t column) const {
    return {static_cast<int>(column / local_columns_), column % local_columns_};
  }
  ColumnPlace cyclic_place(index_t column) const {
    const index_t full = full_rounds_ * tile_ * ranks_;
    const index_t j =
        column < full ? column / tile_ : full_rounds_ * ranks_ + (column - full) / last_width_;
    return {owner(j), local_offset(j) + (column - storage_offset(j))};
  }

 private:
  index_t storage_offset(index_t j) const {
    const index_t full_tiles = full_rounds_ * ranks_;
    return j <= full_tiles
               ? j * tile_
               : full_tiles * tile_ + std::min<index_t>(j - full_tiles, ranks_) * last_width_;
  }
  index_t tiles_below(index_t column) const {
    const index_t full = full_rounds_ * tile_ * ranks_;
    if (column <= full) return (column + tile_ - 1) / tile_;
    return full_rounds_ * ranks_ + (column - full + last_width_ - 1) / last_width_;
  }

  index_t columns_;
  index_t order_;
  index_t tile_;
  int ranks_;
  index_t local_columns_ = 0;
  index_t full_rounds_ = 0;
  index_t last_width_ = 0;
  index_t tiles_ = 0;
};

/// Tiles that are all of width T, also the last ones, dealt to the ranks in turn: the cyclic layout
/// of an n x n matrix in storage of its own, as ScaLAPACK and cuSOLVERMg have it. Every rank holds
/// as many tiles as the one with most of them, and at least one.
inline BlockCyclic whole_tiles(index_t order, int ranks, index_t tile) {
  const index_t round = tile * ranks;
  const index_t rounds = std::max<index_t>(1, (order + round - 1) / round);
  return {rounds * round, ranks, tile, order};
}

/// T evened out over a rank's columns, T' = ceil(n_loc / ceil(n_loc / T)) rounded up to 32, so that
/// the last round is never a sliver.
inline index_t even_tile(index_t local_columns, index_t tile) {
  if (local_columns <= 0) return tile;
  const index_t rounds = (local_columns + tile - 1) / tile;
  const index_t even = (local_columns + rounds - 1) / rounds;
  return (even + 31) / 32 * 32;
}

}  // namespace jaxmg
