// Which permutation cycles turn at once, and where each keeps the columns that it lifts out.
#pragma once

#include <vector>

#include "distribution/permutation_cycles.hpp"

namespace jaxmg {

/// A cycle whose last slot is lifted into columns [staging, staging + width) of the staging
/// buffer of the rank that holds that slot.
struct StagedCycle {
  Cycle cycle;
  index_t staging;
};

/// Batches of cycles, in order; those of one batch have disjoint staging, at most `capacity`
/// columns a rank. Each cycle is turned so that it lifts on the rank with the most staging left.
/// `capacity` must be at least the tile width.
std::vector<std::vector<StagedCycle>> staging_plan(std::vector<Cycle> cycles,
                                                   const BlockCyclic& layout, index_t capacity);

}  // namespace jaxmg
