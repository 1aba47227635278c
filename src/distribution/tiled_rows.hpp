// Where the rows of a rank lie among all, for the host and for kernels.
#pragma once

#include "jaxmg/types.hpp"

namespace jaxmg {

/// Rows in tiles of `tile`, `step` apart, of which the first `skipped` are left out; and, after
/// `regular` of them, rows in one piece, which begins `last` after the first row.
struct TiledRows {
  index_t tile, step, skipped, regular, last;

  /// Where the r-th of them is, counted from the first.
  index_t operator()(index_t r) const {
    if (r >= regular) return last + r - regular;
    const index_t row = r + skipped;
    return row / tile * step + row % tile - skipped;
  }
};

}  // namespace jaxmg
