// Block layout to cyclic and back in place: permutation cycles of tile columns.
#pragma once

#include <algorithm>
#include <vector>

#include "algorithms/redistribute/rows.hpp"
#include "distribution/staging_plan.hpp"
#include "team/rank.hpp"

namespace jaxmg {

/// Columns of staging that permute_in_place() wants on every rank.
inline index_t staging_columns(const BlockCyclic& layout) { return 2 * layout.tile(); }

/// One batch of cycles. Ring s_0 -> s_1 -> ... -> s_{L-1} -> s_0 turns in L + 1 steps: step 0 lifts
/// s_{L-1} into staging, step t puts s_{L-t-1} where s_{L-t} was, step L puts the staged columns
/// into s_0. Each step is done by the rank that holds the target, after step t - 1 has read
/// what it overwrites. All ranks go through the steps of all cycles in the same order, one step
/// of every cycle after the other, so that no in-order queue can block another for ever.
template <Backend B, Scalar T>
class CycleBatch {
 public:
  CycleBatch(Rank<B>& rank, const BlockCyclic& layout, MatrixView<T> mine, MatrixView<T> staging,
             Rows rows)
      : rank_(rank), layout_(layout), mine_(mine), staging_(staging), rows_(rows) {}

  void turn(const std::vector<StagedCycle>& batch) {
    meet();
    std::size_t longest = 0;
    for (const StagedCycle& staged : batch) {
      longest = std::max(longest, staged.cycle.slots.size());
    }
    const index_t tags = rank_.reserve(static_cast<index_t>((longest + 1) * batch.size()));
    for (std::size_t step = 0; step <= longest; ++step) {
      for (std::size_t c = 0; c < batch.size(); ++c) {
        if (step > batch[c].cycle.slots.size()) continue;
        const index_t tag = tags + static_cast<index_t>(step * batch.size() + c);
        take_step(batch[c], step, tag, tag - static_cast<index_t>(batch.size()));
      }
    }
  }

 private:
  /// Everybody's storage is there and the staging of the last batch is free.
  void meet() {
    auto& queue = rank_.copies();
    const index_t shard_tag = rank_.reserve(2), staging_tag = shard_tag + 1;
    rank_.post(shard_tag, mine_.data, queue);
    rank_.post(staging_tag, staging_.data, queue);
    shards_.clear();
    stagings_.clear();
    for (int p = 0; p < rank_.size(); ++p) {
      shards_.push_back(rank_.template take<T>(p, shard_tag, queue));
      stagings_.push_back(rank_.template take<T>(p, staging_tag, queue));
    }
  }

  int rank_of(index_t slot) const { return static_cast<int>(slot / layout_.local_columns()); }

  /// The slot whose rank does this step.
  static index_t target(const Cycle& cycle, std::size_t step) {
    const std::size_t length = cycle.slots.size();
    return step == 0 ? cycle.slots[length - 1] : cycle.slots[length - step];
  }

  void take_step(const StagedCycle& staged, std::size_t step, index_t tag, index_t before) {
    const Cycle& cycle = staged.cycle;
    const std::size_t length = cycle.slots.size();
    const index_t here = target(cycle, step);
    if (rank_of(here) != rank_.index()) return;
    auto& queue = rank_.copies();
    if (step > 0) rank_.wait_for(rank_of(target(cycle, step - 1)), before, queue);
    const index_t last = cycle.slots[length - 1];
    const index_t from = step == 0 || step == length ? last : cycle.slots[length - step - 1];
    const MatrixView<T> slot = columns(mine_.data, here, cycle.width);
    const MatrixView<T> staged_here = staging_.block(0, staged.staging, mine_.rows, cycle.width);
    const MatrixView<const T> staged_there(shard(stagings_, last) + staged.staging * staging_.ld,
                                           mine_.rows, cycle.width, staging_.ld);
    const auto move = [&](MatrixView<const T> source, MatrixView<T> destination) {
      const index_t first = rows_ == Rows::all ? 0 : from;
      rank_.template read<T>(rank_of(from), queue, source.row_range(first, mine_.rows),
                             destination.row_range(first, mine_.rows));
    };
    if (step == 0) {
      move(slot, staged_here);
    } else if (step < length) {
      move(columns(shard(shards_, from), from, cycle.width), slot);
    } else {
      move(staged_there, slot);
    }
    rank_.post(tag, nullptr, queue);
  }

  const T* shard(const std::vector<const T*>& of_ranks, index_t slot) const {
    return of_ranks[static_cast<std::size_t>(rank_of(slot))];
  }
  template <class U>
  MatrixView<U> columns(U* shard, index_t slot, index_t width) const {
    return {shard + slot % layout_.local_columns() * mine_.ld, mine_.rows, width, mine_.ld};
  }

  Rank<B>& rank_;
  const BlockCyclic& layout_;
  MatrixView<T> mine_;
  MatrixView<T> staging_;
  Rows rows_;
  std::vector<const T*> shards_;
  std::vector<const T*> stagings_;
};

/// Moves all columns of all ranks along `cycles` (of block_to_cyclic_cycles or its inverse).
/// `mine` is this rank's storage, `staging` has staging_columns() columns; their leading
/// dimensions are the same on all ranks. Enqueued on rank.copies(); the last step of a rank that
/// still reads this one's staging is waited for. Rows::from_diagonal is for cycles from the block
/// layout, where a slot is the number of the column that it holds.
template <Backend B, Scalar T>
void permute_in_place(Rank<B>& rank, const BlockCyclic& layout, std::vector<Cycle> cycles,
                      MatrixView<T> mine, MatrixView<T> staging, Rows rows) {
  CycleBatch<B, T> batch(rank, layout, mine, staging, rows);
  for (const auto& cycles_at_once :
       staging_plan(std::move(cycles), layout, staging_columns(layout))) {
    batch.turn(cycles_at_once);
  }
  rank.barrier(rank.copies());
}

}  // namespace jaxmg
