// The layouts that tests of the distribution go through, and the definition they are held to.
#pragma once

#include <algorithm>
#include <cstdlib>
#include <string>
#include <vector>

#include "distribution/block_cyclic.hpp"

namespace jaxmg::testing {

/// Wider sweeps were asked for.
inline bool full_sweep() { return std::getenv("JAXMG_TEST_FULL") != nullptr; }

inline std::string describe(const BlockCyclic& layout) {
  return std::to_string(layout.columns()) + " columns, order " + std::to_string(layout.order()) +
         ", tile " + std::to_string(layout.tile()) + ", " + std::to_string(layout.ranks()) +
         " ranks";
}

/// Calls visit(layout) for every P <= max_ranks, every storage of up to `max_columns` columns and
/// every tile, those wider than a rank's share included; until one returns false.
template <class Visit>
void for_each_layout(index_t max_columns, int max_ranks, Visit visit) {
  for (int ranks = 1; ranks <= max_ranks; ++ranks) {
    for (index_t columns = 0; columns <= max_columns; columns += ranks) {
      for (index_t tile = 1; tile <= columns / ranks + 2; ++tile) {
        if (!visit(BlockCyclic(columns, ranks, tile))) return;
      }
    }
  }
}

/// The definition of the cyclic layout: each rank's columns are cut into tiles, and the columns of
/// the matrix are dealt to the first tile of every rank, then to the second of every rank, ...
inline std::vector<ColumnPlace> deal(const BlockCyclic& layout) {
  std::vector<ColumnPlace> places;
  for (index_t begin = 0; begin < layout.local_columns(); begin += layout.tile()) {
    const index_t end = std::min(begin + layout.tile(), layout.local_columns());
    for (int rank = 0; rank < layout.ranks(); ++rank) {
      for (index_t local = begin; local < end; ++local) places.push_back({rank, local});
    }
  }
  return places;
}

}  // namespace jaxmg::testing
