#include "distribution/staging_plan.hpp"

#include <algorithm>

namespace jaxmg {

std::vector<std::vector<StagedCycle>> staging_plan(std::vector<Cycle> cycles,
                                                   const BlockCyclic& layout, index_t capacity) {
  std::vector<std::vector<StagedCycle>> batches;
  std::vector<index_t> used(static_cast<std::size_t>(layout.ranks()), capacity);
  const auto used_at = [&](index_t slot) -> index_t& {
    return used[static_cast<std::size_t>(slot / layout.local_columns())];
  };
  for (Cycle& cycle : cycles) {
    auto lift = std::min_element(cycle.slots.begin(), cycle.slots.end(),
                                 [&](index_t a, index_t b) { return used_at(a) < used_at(b); });
    if (used_at(*lift) + cycle.width > capacity) {
      batches.emplace_back();
      std::fill(used.begin(), used.end(), 0);
      lift = cycle.slots.begin();
    }
    std::rotate(cycle.slots.begin(), lift + 1, cycle.slots.end());
    const index_t staging = used_at(cycle.slots.back());
    used_at(cycle.slots.back()) += cycle.width;
    batches.back().push_back({std::move(cycle), staging});
  }
  return batches;
}

}  // namespace jaxmg
