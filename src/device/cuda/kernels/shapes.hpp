// Shapes of the eigensolver's thread blocks, and what its kernels are given, on the host and on the
// device.
#pragma once

#include "jaxmg/view.hpp"

namespace jaxmg::cuda {

inline constexpr int warp_size = 32;

/// Columns that divide_rows() works out at a time, and rows of a block.
template <class D>
inline constexpr int substitution_columns = sizeof(D) > 8 ? 8 : 16;
inline constexpr int substitution_rows = 64;

/// All columns' tau, beta and factor of a Householder QR: three columns of blocks of a window of
/// n x 3 n.
template <class W>
struct Reflections {
  MatrixView<W> all;
  W& tau(index_t j) const { return all(j, 0); }
  W& beta(index_t j) const { return all(j, all.rows); }
  W& factor(index_t j) const { return all(j, 2 * all.rows); }
};

/// Words of a letter of so many elements: each has four bytes of data.
template <class D>
constexpr int letter_words(int elements) {
  return elements * static_cast<int>(sizeof(D) / 4);
}

/// Columns of a block's windows that a warp of chase() has.
inline constexpr int chase_columns = 8;

/// A block of chase(), for windows of up to `halves` warps' rows.
template <int halves>
struct ChaseShape {
  static constexpr int rows = halves * warp_size;
  static constexpr int workers = rows / chase_columns;     ///< warps
  static constexpr int block = (workers + 2) * warp_size;  ///< threads
  static constexpr int letter = rows + 1;
  /// Elements of shared memory, beside a ticket.
  static constexpr int elements =
      2 * letter + (2 * workers + 2) * rows + workers * (rows + 2 * chase_columns);
};

/// DiamondWaves, as far as form_diamonds() needs it.
struct Diamonds {
  index_t bandwidth, sweeps, levels, group, groups;
};

inline constexpr int diamond_warps = 8;
/// Columns of a diamond that a warp has at a time.
inline constexpr int diamond_columns = 4;

inline constexpr int leaf_width = 32;
inline constexpr int secular_warps = 8;

}  // namespace jaxmg::cuda
