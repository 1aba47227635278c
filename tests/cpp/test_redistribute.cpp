#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "algorithms/redistribute/in_place.hpp"
#include "algorithms/redistribute/out_of_place.hpp"
#include "kinds.hpp"
#include "layouts.hpp"

namespace jaxmg {
namespace {

using testing::deal;
using testing::describe;
using testing::for_each_layout;
using testing::full_sweep;
using testing::KindNames;
using testing::KindTest;

/// What stands at (row, column) of the matrix; exact in float.
template <class T>
T value(index_t row, index_t column) {
  const auto number = static_cast<real_t<T>>(1 + row * 1000 + column);
  if constexpr (is_complex_v<T>) {
    return T(number, -number);
  } else {
    return number;
  }
}

/// All ranks' shards of one matrix, `columns` rows and n_loc columns each, with room below.
template <class Kind, class T>
class Shards {
 public:
  using Storage = typename Kind::template Vector<T>;

  /// What no value() is.
  static constexpr T untouched{-7};

  Shards(const BlockCyclic& layout, index_t ld) : rows_(layout.columns()), ld_(ld) {
    const auto elements = static_cast<std::size_t>(ld * layout.local_columns());
    storage_.assign(static_cast<std::size_t>(layout.ranks()), Storage(elements, untouched));
    local_columns_ = layout.local_columns();
  }

  MatrixView<T> of(int rank) {
    return {storage_[static_cast<std::size_t>(rank)].data(), rows_, local_columns_, ld_};
  }
  T at(index_t row, ColumnPlace place) { return of(place.rank)(row, place.local); }
  index_t ld() const { return ld_; }

  /// Column c of the matrix, all of its rows, at places[c].
  void fill(const std::vector<ColumnPlace>& places) {
    for (std::size_t c = 0; c < places.size(); ++c) {
      const MatrixView<T> shard = of(places[c].rank);
      for (index_t i = 0; i < rows_; ++i) {
        shard(i, places[c].local) = value<T>(i, static_cast<index_t>(c));
      }
    }
  }

 private:
  index_t rows_, ld_;
  index_t local_columns_ = 0;
  std::vector<Storage> storage_;
};

std::vector<ColumnPlace> block_places(const BlockCyclic& layout) {
  std::vector<ColumnPlace> places;
  for (int rank = 0; rank < layout.ranks(); ++rank) {
    for (index_t local = 0; local < layout.local_columns(); ++local)
      places.push_back({rank, local});
  }
  return places;
}

enum class Direction { forward, back };

template <class Kind, class T>
void check_out_of_place(const BlockCyclic& layout, Direction direction, Rows rows, bool direct) {
  using Backend = typename Kind::Backend;
  const testing::Setting setting{layout.ranks(), layout.tile(), direct};
  const std::vector<ColumnPlace> block = block_places(layout), cyclic = deal(layout);
  const bool forward = direction == Direction::forward;
  const std::vector<ColumnPlace>& to = forward ? cyclic : block;
  Shards<Kind, T> source(layout, layout.columns() + 1), target(layout, layout.columns() + 2);
  source.fill(forward ? block : cyclic);
  Kind::run(setting, [&](Rank<Backend>& rank) {
    const MatrixView<T> from = source.of(rank.index()), into = target.of(rank.index());
    if (forward) {
      block_to_cyclic<Backend, T>(rank, layout, from, into, rows);
    } else {
      cyclic_to_block<Backend, T>(rank, layout, from, into, rows);
    }
  });
  for (index_t column = 0; column < layout.columns(); ++column) {
    // Rows of the tile above the diagonal may travel along.
    const index_t needed = rows == Rows::all ? 0 : column;
    const index_t allowed =
        rows == Rows::all ? 0 : std::max<index_t>(column - layout.tile() + 1, 0);
    for (index_t i = 0; i < target.ld(); ++i) {
      constexpr T untouched = Shards<Kind, T>::untouched;
      const T got = target.at(i, to[static_cast<std::size_t>(column)]);
      const bool counts = i < layout.order() && column < layout.order();
      if (counts && i >= needed) {
        ASSERT_EQ(got, value<T>(i, column)) << i << ", " << column << " of " << describe(layout);
      } else if (!counts || i < allowed) {
        ASSERT_EQ(got, untouched) << i << ", " << column << " of " << describe(layout);
      }
    }
  }
}

template <class Kind, class T>
void check_in_place(const BlockCyclic& layout, bool direct) {
  using Backend = typename Kind::Backend;
  const testing::Setting setting{layout.ranks(), layout.tile(), direct};
  const std::vector<ColumnPlace> block = block_places(layout), cyclic = deal(layout);
  Shards<Kind, T> matrix(layout, layout.columns() + 3), staging = matrix, expected = matrix;
  matrix.fill(block);
  using Staging = typename Kind::template Vector<T>;
  std::vector<Staging> stagings(
      static_cast<std::size_t>(layout.ranks()),
      Staging(static_cast<std::size_t>(layout.columns() * staging_columns(layout))));
  const auto permute = [&](Rank<Backend>& rank, std::vector<Cycle> cycles, Rows rows = Rows::all) {
    const MatrixView<T> own_staging(stagings[static_cast<std::size_t>(rank.index())].data(),
                                    layout.columns(), staging_columns(layout), layout.columns());
    permute_in_place<Backend, T>(rank, layout, std::move(cycles), matrix.of(rank.index()),
                                 own_staging, rows);
  };
  const auto check = [&](const std::vector<ColumnPlace>& places, Rows rows = Rows::all) {
    expected.fill(places);
    for (std::size_t column = 0; column < places.size(); ++column) {
      const ColumnPlace& place = places[column];
      const index_t first = rows == Rows::all ? 0 : static_cast<index_t>(column);
      for (index_t i = first; i < matrix.ld(); ++i) {
        ASSERT_EQ(matrix.at(i, place), expected.at(i, place))
            << "row " << i << ", rank " << place.rank << ", column " << place.local << " of "
            << describe(layout);
      }
    }
  };
  Kind::run(setting, [&](Rank<Backend>& rank) { permute(rank, block_to_cyclic_cycles(layout)); });
  check(cyclic);
  Kind::run(setting, [&](Rank<Backend>& rank) { permute(rank, cyclic_to_block_cycles(layout)); });
  check(block);
  // Both in one call, without a pause between.
  Kind::run(setting, [&](Rank<Backend>& rank) {
    permute(rank, block_to_cyclic_cycles(layout));
    permute(rank, cyclic_to_block_cycles(layout));
  });
  check(block);
  Kind::run(setting, [&](Rank<Backend>& rank) {
    permute(rank, block_to_cyclic_cycles(layout), Rows::from_diagonal);
  });
  check(cyclic, Rows::from_diagonal);
}

template <class Kind, class T>
void check_all(const BlockCyclic& layout, bool direct) {
  for (const Rows rows : {Rows::all, Rows::from_diagonal}) {
    check_out_of_place<Kind, T>(layout, Direction::forward, rows, direct);
    check_out_of_place<Kind, T>(layout, Direction::back, rows, direct);
  }
  check_in_place<Kind, T>(layout, direct);
}

template <class Kind>
class Redistribute : public KindTest<Kind> {};
TYPED_TEST_SUITE(Redistribute, testing::Kinds, KindNames);

TYPED_TEST(Redistribute, AllSmallLayouts) {
  const index_t widest = full_sweep() ? 24 : 12;
  for_each_layout(widest, 4, [](const BlockCyclic& full) {
    for (const index_t order : {full.columns(), full.columns() - 1, full.columns() / 2}) {
      if (order < 0) continue;
      const BlockCyclic layout(full.columns(), full.ranks(), full.tile(), order);
      check_all<TypeParam, float>(layout, order % 2 == 0);
    }
    return !::testing::Test::HasFailure();
  });
}

TYPED_TEST(Redistribute, BatchesOfCyclesTurnOneAfterTheOther) {
  set_cpu_chaos(3, 20);
  for (const BlockCyclic& layout : {BlockCyclic(4 * 64, 4, 1), BlockCyclic(8 * 16, 8, 2)}) {
    const auto batches =
        staging_plan(block_to_cyclic_cycles(layout), layout, staging_columns(layout));
    EXPECT_GT(batches.size(), 2u);
    check_in_place<TypeParam, double>(layout, true);
  }
}

template <class P>
class RedistributeRandomly : public KindTest<typename P::Kind> {};
TYPED_TEST_SUITE(RedistributeRandomly, testing::OnAllKinds, KindNames);

/// On the CPU under chaos.
TYPED_TEST(RedistributeRandomly, GivesTheDefinition) {
  std::mt19937 random(17);
  const auto pick = [&random](index_t low, index_t high) {
    return std::uniform_int_distribution<index_t>(low, high)(random);
  };
  const unsigned seeds = full_sweep() ? 100 : 12;
  for (unsigned seed = 1; seed <= seeds && !this->HasFailure(); ++seed) {
    const auto ranks = static_cast<int>(pick(1, 8));
    const index_t local = pick(1, 12);
    const index_t tile = pick(1, local + 1), order = pick(0, ranks * local);
    set_cpu_chaos(seed, 20);
    check_all<typename TypeParam::Kind, typename TypeParam::type>(
        {ranks * local, ranks, tile, order}, seed % 2 == 0);
  }
}

}  // namespace
}  // namespace jaxmg
