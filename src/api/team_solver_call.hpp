// What the rank programs of calls by another engine (engines/team_solver.hpp) share: its layout,
// and how one rank calls the library for all. These programs, unlike others, block until the
// devices are done.
#pragma once

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "algorithms/panel_ring.hpp"
#include "algorithms/redistribute/in_place.hpp"
#include "algorithms/redistribute/out_of_place.hpp"
#include "api/cholesky_plan.hpp"
#include "engines/team_solver.hpp"

namespace jaxmg {

/// The layout of such a library.
inline BlockCyclic tiles_of(const CholeskyProblem& p) {
  return whole_tiles(p.order, p.ranks, p.tile);
}

/// Whether A's own storage, of which a rank has n_loc columns, holds whole tiles and nothing else.
inline bool is_in_whole_tiles(const CholeskyProblem& p) {
  return p.order == p.columns && p.columns % (p.tile * p.ranks) == 0;
}

/// A rank's memory for a matrix in whole tiles.
template <Scalar T>
struct WholeTiles {
  MatrixView<T> matrix;    ///< order x m, without gaps; empty where A's own storage serves
  MatrixView<T> staging;   ///< two tile columns, to permute
  PanelStorage<T> panels;  ///< the same storage, for what is read of peers

  static WholeTiles carve(Arena& arena, const CholeskyProblem& problem, bool in_own_storage,
                          bool with_staging) {
    WholeTiles tiles;
    const BlockCyclic layout = tiles_of(problem);
    const index_t n = problem.order;
    if (!in_own_storage) tiles.matrix = arena.take_matrix<T>(n, layout.local_columns());
    if (!with_staging) return tiles;
    tiles.staging = arena.take_matrix<T>(n, staging_columns(layout));
    for (index_t slot = 0; slot < panel_slots; ++slot) {
      tiles.panels[static_cast<std::size_t>(slot)] =
          tiles.staging.column_range(slot * layout.tile(), (slot + 1) * layout.tile());
    }
    return tiles;
  }
};

/// Questions that rank 0 answers for all. Nobody loses patience while it works one out.
template <Backend B>
class AskRank0 {
 public:
  explicit AskRank0(Rank<B>& rank) : rank_(rank) {}

  /// What work() of rank 0 returns, once all that any rank has given to its queues is done.
  template <class Work>
  std::int64_t operator()(const Work& work) {
    rank_.synchronize();
    const index_t here = rank_.reserve(2), answered = here + 1;
    rank_.tell(here, {});
    if (rank_.index() == 0) {
      for (int p = 0; p < rank_.size(); ++p) rank_.hear(p, here);
      rank_.tell(answered, {std::to_string(work()), nullptr});
    }
    return std::stoll(rank_.hear(0, answered).text);
  }

  /// The notes of all ranks on rank 0, nothing on others.
  std::vector<Note> gather(Note mine) {
    const index_t tag = rank_.reserve(1);
    rank_.tell(tag, std::move(mine));
    std::vector<Note> all;
    for (int p = 0; rank_.index() == 0 && p < rank_.size(); ++p) all.push_back(rank_.hear(p, tag));
    return all;
  }

 private:
  Rank<B>& rank_;
};

/// Such a library's solver for a matrix in whole tiles: made, and called, by rank 0 for all. An
/// empty matrix has none.
///
/// Rank 0 may hold memory of other processes, as long as this lives. It is theirs so long, whether
/// the call succeeds or fails: no rank leaves a call before all have met (run_rank()), and rank 0
/// comes to that when it has left its program, and so has let go.
template <Backend B>
class SolverOfRank0 {
 public:
  /// `matrix` without what ranks add to it: each its seat's device, its `share` and its `columns`.
  SolverOfRank0(Rank<B>& rank, TeamMatrix matrix, void* share, void* columns, TeamSolverSeat& seat)
      : ask_(rank), seat_(seat) {
    if (matrix.order == 0) return;
    const index_t tag = rank.reserve(1);
    if (rank.index() == 0) rank.tell(tag, {seat.process, nullptr});
    process_ = rank.hear(0, tag).text;
    matrix.shares = gather(share);
    for (const Reached& of_rank : reached_) matrix.devices.push_back(of_rank.device);
    if (matrix.rhs > 0) matrix.columns = gather(columns);
    const std::int64_t bytes = ask_([&] {
      solver_ = seat.make_solver(matrix);
      return static_cast<std::int64_t>(solver_->scratch_bytes());
    });
    auto scratch =
        gather(seat.allocate(static_cast<std::size_t>(std::max<std::int64_t>(bytes, 1))));
    if (solver_) solver_->use_scratch(std::move(scratch));
  }

  /// What call(solver) of rank 0 returns, once all that any rank has given to its queues is done.
  template <class Call>
  std::int64_t operator()(const Call& call) {
    return ask_([&] { return call(*solver_); });
  }

 private:
  /// The memories of all ranks on rank 0, nothing on others.
  std::vector<void*> gather(void* mine) {
    std::vector<void*> all;
    for (const Note& offered : ask_.gather(seat_.offer(mine, process_))) {
      all.push_back(reached_.emplace_back(seat_.reach(offered)).memory.get());
    }
    return all;
  }

  AskRank0<B> ask_;
  TeamSolverSeat& seat_;
  std::string process_;                 ///< rank 0's
  std::vector<Reached> reached_;        ///< on rank 0: what solver_ works on
  std::unique_ptr<TeamSolver> solver_;  ///< on rank 0
};

/// Throws InvalidArgument on rank 0 unless all ranks' processes are on its host.
template <Backend B>
void expect_one_host(const Rank<B>& rank) {
  for (int p = 0; rank.index() == 0 && p < rank.size(); ++p) {
    if (rank.shares_host(p)) continue;
    throw InvalidArgument("engine: cusolvermg needs the GPUs of one host, and rank " +
                          std::to_string(p) +
                          "'s is of another, or of another container; use a mesh of one host's "
                          "GPUs, or engine=\"jaxmg\"");
  }
}

/// This rank's share of the matrix in whole tiles, from A as JAX holds it: in A's storage if it is
/// `target` already, else pulled there. Zero where nothing is pulled. Throws InvalidArgument,
/// before anything is moved, where the library cannot reach all ranks.
template <Backend B, Scalar T>
void distribute_in_whole_tiles(Rank<B>& rank, const CholeskyProblem& problem, MatrixView<T> A,
                               MatrixView<T> target, MatrixView<T> staging) {
  expect_one_host(rank);
  const BlockCyclic layout = tiles_of(problem);
  if (target.data == A.data) {
    permute_in_place<B, T>(rank, layout, block_to_cyclic_cycles(layout), A, staging,
                           Rows::from_diagonal);
    return;
  }
  B::template fill<T>(rank.copies(), T(0), target);
  block_to_cyclic<B, T>(rank, problem.layout(), layout, A, target, Rows::from_diagonal);
}

}  // namespace jaxmg
