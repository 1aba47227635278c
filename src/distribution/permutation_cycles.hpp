// The permutation that turns the block layout into the cyclic one, in place.
#pragma once

#include <vector>

#include "distribution/block_cyclic.hpp"

namespace jaxmg {

/// Columns that move in a ring: the `width` columns at slots[i] go to slots[i + 1], those at the
/// last slot to slots[0]. A slot is rank * n_loc + local, the position in all ranks' storage
/// joined; the columns of one slot are contiguous on one rank.
struct Cycle {
  index_t width;
  std::vector<index_t> slots;
};

/// The cycles of block -> cyclic, disjoint, together moving every column that has to move once.
///
/// Neighbouring columns that travel together form one cycle, at most one tile wide, so that for
/// tiles that divide n_loc whole tiles move.
std::vector<Cycle> block_to_cyclic_cycles(const BlockCyclic& layout);

/// The same for cyclic -> block.
std::vector<Cycle> cyclic_to_block_cycles(const BlockCyclic& layout);

}  // namespace jaxmg
