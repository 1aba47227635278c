#include <algorithm>

#include <gtest/gtest.h>

#include "distribution/staging_plan.hpp"
#include "layouts.hpp"

namespace jaxmg {
namespace {

using testing::describe;
using testing::for_each_layout;

using Batches = std::vector<std::vector<StagedCycle>>;

/// Which staging columns a batch uses, rank after rank.
std::vector<bool> staging_in_use(const std::vector<StagedCycle>& batch, const BlockCyclic& layout,
                                 index_t capacity) {
  std::vector<bool> in_use(static_cast<std::size_t>(layout.ranks() * capacity), false);
  for (const StagedCycle& staged : batch) {
    const index_t rank = staged.cycle.slots.back() / layout.local_columns();
    EXPECT_TRUE(staged.staging >= 0 && staged.staging + staged.cycle.width <= capacity)
        << describe(layout);
    for (index_t c = 0; c < staged.cycle.width; ++c) {
      const auto at = static_cast<std::size_t>(rank * capacity + staged.staging + c);
      EXPECT_FALSE(in_use.at(at)) << "staging overlaps: " << describe(layout);
      in_use.at(at) = true;
    }
  }
  return in_use;
}

/// Turned so that it starts at its smallest slot.
std::vector<index_t> canonical(std::vector<index_t> slots) {
  std::rotate(slots.begin(), std::min_element(slots.begin(), slots.end()), slots.end());
  return slots;
}

void check_plan(const BlockCyclic& layout, const std::vector<Cycle>& cycles, index_t capacity) {
  const Batches batches = staging_plan(cycles, layout, capacity);
  std::size_t next = 0;
  std::vector<bool> before;
  for (const std::vector<StagedCycle>& batch : batches) {
    ASSERT_FALSE(batch.empty()) << describe(layout);
    for (const StagedCycle& staged : batch) {
      ASSERT_LT(next, cycles.size()) << describe(layout);
      ASSERT_EQ(staged.cycle.width, cycles[next].width) << describe(layout);
      ASSERT_EQ(canonical(staged.cycle.slots), canonical(cycles[next].slots)) << describe(layout);
      ++next;
    }
    // A batch ends only when the next cycle fits on none of its ranks.
    if (!before.empty()) {
      const Cycle& first = batch.front().cycle;
      for (const index_t slot : first.slots) {
        const auto begin = before.begin() + slot / layout.local_columns() * capacity;
        ASSERT_GT(std::count(begin, begin + capacity, true) + first.width, capacity)
            << describe(layout);
      }
    }
    before = staging_in_use(batch, layout, capacity);
  }
  ASSERT_EQ(next, cycles.size()) << describe(layout);
}

TEST(StagingPlan, KeepsAllCyclesAndNeverOverlaps) {
  for_each_layout(64, 8, [](const BlockCyclic& layout) {
    for (const index_t capacity : {layout.tile(), 2 * layout.tile(), 2 * layout.tile() + 1}) {
      check_plan(layout, block_to_cyclic_cycles(layout), capacity);
      check_plan(layout, cyclic_to_block_cycles(layout), capacity);
    }
    return !::testing::Test::HasFailure();
  });
}

TEST(StagingPlan, SpreadsTheLiftsOverTheRanks) {
  const BlockCyclic layout(4 * 64, 4, 4);
  const Batches batches = staging_plan(block_to_cyclic_cycles(layout), layout, 8);
  ASSERT_FALSE(batches.empty());
  const std::vector<bool> in_use = staging_in_use(batches.front(), layout, 8);
  for (int rank = 0; rank < 4; ++rank) {
    EXPECT_GT(std::count(in_use.begin() + 8 * rank, in_use.begin() + 8 * (rank + 1), true), 0);
  }
}

}  // namespace
}  // namespace jaxmg
