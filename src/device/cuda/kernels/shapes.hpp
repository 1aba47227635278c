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

/// Columns of a block's windows that a thread of chase() has, of one row.
inline constexpr int columns_each = 16;

/// For windows of up to `halves` warps' rows.
template <int halves_>
struct ChaseShape {
  static constexpr int halves = halves_;  ///< warps that share their columns
  static constexpr int rows = halves * warp_size;
  static constexpr int slices = rows / columns_each;
  static constexpr int block = rows * slices;  ///< threads
  static constexpr int warps = block / warp_size;
  /// Elements of shared memory, beside a ticket.
  static constexpr int elements = rows * (2 * slices + 2 * halves + 1 + 2 * warps);
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
