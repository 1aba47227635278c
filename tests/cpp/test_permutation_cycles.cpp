#include <numeric>

#include <gtest/gtest.h>

#include "distribution/permutation_cycles.hpp"
#include "layouts.hpp"

namespace jaxmg {
namespace {

using testing::deal;
using testing::describe;
using testing::for_each_layout;

/// `storage` holds a number a column, all ranks' joined.
void turn(const std::vector<Cycle>& cycles, std::vector<index_t>& storage) {
  const std::vector<index_t> before = storage;
  for (const Cycle& cycle : cycles) {
    for (std::size_t i = 0; i < cycle.slots.size(); ++i) {
      const index_t from = cycle.slots[i], to = cycle.slots[(i + 1) % cycle.slots.size()];
      for (index_t c = 0; c < cycle.width; ++c) {
        storage.at(static_cast<std::size_t>(to + c)) =
            before.at(static_cast<std::size_t>(from + c));
      }
    }
  }
}

std::vector<index_t> count_up(index_t columns) {
  std::vector<index_t> storage(static_cast<std::size_t>(columns));
  std::iota(storage.begin(), storage.end(), 0);
  return storage;
}

std::vector<index_t> dealt_storage(const BlockCyclic& layout) {
  std::vector<index_t> storage(static_cast<std::size_t>(layout.columns()));
  index_t column = 0;
  for (const ColumnPlace& place : deal(layout)) {
    storage.at(static_cast<std::size_t>(place.rank * layout.local_columns() + place.local)) =
        column++;
  }
  return storage;
}

TEST(PermutationCycles, GiveTheDefinitionAndGoBack) {
  for_each_layout(64, 8, [](const BlockCyclic& layout) {
    std::vector<index_t> storage = count_up(layout.columns());
    turn(block_to_cyclic_cycles(layout), storage);
    EXPECT_EQ(storage, dealt_storage(layout)) << describe(layout);
    turn(cyclic_to_block_cycles(layout), storage);
    EXPECT_EQ(storage, count_up(layout.columns())) << describe(layout);
    return !::testing::Test::HasFailure();
  });
}

TEST(PermutationCycles, CoverEveryColumnThatMovesOnce) {
  for_each_layout(64, 8, [](const BlockCyclic& layout) {
    std::vector<int> covered(static_cast<std::size_t>(layout.columns()), 0);
    for (const Cycle& cycle : block_to_cyclic_cycles(layout)) {
      EXPECT_GE(cycle.slots.size(), 2u) << describe(layout);
      EXPECT_TRUE(cycle.width >= 1 && cycle.width <= layout.tile()) << describe(layout);
      for (const index_t slot : cycle.slots) {
        const index_t local = slot % layout.local_columns();
        EXPECT_LE(local + cycle.width, layout.local_columns()) << describe(layout);
        for (index_t c = 0; c < cycle.width; ++c) ++covered.at(static_cast<std::size_t>(slot + c));
      }
    }
    for (index_t column = 0; column < layout.columns(); ++column) {
      const bool moves = !(layout.block_place(column) == layout.cyclic_place(column));
      EXPECT_EQ(covered[static_cast<std::size_t>(column)], moves ? 1 : 0)
          << "column " << column << " of " << describe(layout);
    }
    return !::testing::Test::HasFailure();
  });
}

TEST(PermutationCycles, MoveWholeTilesWhereTheyDivideTheShard) {
  for_each_layout(128, 8, [](const BlockCyclic& layout) {
    if (layout.local_columns() == 0 || layout.last_width() != 0) return true;
    for (const Cycle& cycle : block_to_cyclic_cycles(layout)) {
      EXPECT_EQ(cycle.width, layout.tile()) << describe(layout);
    }
    return !::testing::Test::HasFailure();
  });
}

TEST(PermutationCycles, NothingMovesOnOneRankOrWithOneTile) {
  EXPECT_TRUE(block_to_cyclic_cycles(BlockCyclic(60, 1, 7)).empty());
  EXPECT_TRUE(block_to_cyclic_cycles(BlockCyclic(60, 4, 15)).empty());
  EXPECT_TRUE(block_to_cyclic_cycles(BlockCyclic(60, 4, 100)).empty());
  EXPECT_TRUE(block_to_cyclic_cycles(BlockCyclic(0, 4, 5)).empty());
}

TEST(PermutationCycles, TheOrderDoesNotMatter) {
  const std::vector<Cycle> full = block_to_cyclic_cycles(BlockCyclic(48, 4, 5));
  const std::vector<Cycle> part = block_to_cyclic_cycles(BlockCyclic(48, 4, 5, 41));
  ASSERT_EQ(full.size(), part.size());
  for (std::size_t i = 0; i < full.size(); ++i) EXPECT_EQ(full[i].slots, part[i].slots);
}

}  // namespace
}  // namespace jaxmg
