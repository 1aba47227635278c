// How n rows are shared out, and the tree of cuts over the shares.
#pragma once

#include <vector>

#include "jaxmg/types.hpp"

namespace jaxmg {

/// `count` neighbouring shares of `size` items from `begin` on, as even as can be.
struct Shares {
  index_t begin;
  index_t size;
  index_t count;

  /// Where share i begins; share i - 1 ends there.
  index_t border(index_t i) const { return begin + size * i / count; }
  /// The share of an item.
  index_t holder(index_t item) const { return ((item - begin + 1) * count - 1) / size; }
  index_t largest() const { return (size + count - 1) / count; }
};

/// A node of the tree: shares `first` up to `cut` are joined with `cut` up to `last`.
struct Join {
  index_t first;
  index_t cut;
  index_t last;
};

/// The joins of level l = 0, 1, ... over any number of shares: 2^l with 2^l, the last with what is
/// left.
inline std::vector<Join> joins(index_t shares, int level) {
  std::vector<Join> all;
  const index_t half = index_t{1} << level;
  for (index_t first = 0; first + half < shares; first += 2 * half) {
    all.push_back({first, first + half, first + 2 * half < shares ? first + 2 * half : shares});
  }
  return all;
}

/// Levels until all shares are joined.
inline int join_levels(index_t shares) {
  int levels = 0;
  while ((index_t{1} << levels) < shares) ++levels;
  return levels;
}

}  // namespace jaxmg
