// syevd by another engine (engines/team_solver.hpp), for every front end: our redistribution and
// scaling around the calls of a library that one rank makes for all.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include "algorithms/panel_ring.hpp"
#include "api/syevd_program.hpp"
#include "api/team_solver_call.hpp"

namespace jaxmg {

/// A rank's workspace: as that of potrs, n m elements for n the order and m the columns of a rank
/// in whole tiles, unless A's own storage is given and cut evenly by T, and 2 n T. The library's
/// own scratch comes on top: it is not a formula, and is allocated when it has told how much.
template <Scalar T>
struct TeamSolverSyevdWorkspace {
  double* largest;
  double* all_largest;  ///< one a rank
  WholeTiles<T> tiles;

  static TeamSolverSyevdWorkspace carve(Arena& arena, const SyevdProblem& problem) {
    const CholeskyProblem matrix = problem.matrix();
    TeamSolverSyevdWorkspace work;
    work.largest = arena.take<double>(1);
    work.all_largest = arena.take<double>(problem.ranks);
    const bool in_own_storage = problem.in_place && is_in_whole_tiles(matrix);
    work.tiles = WholeTiles<T>::carve(arena, matrix, in_own_storage, true);
    return work;
  }
  static std::size_t bytes(const SyevdProblem& problem) {
    Arena arena;
    carve(arena, problem);
    return arena.bytes();
  }
};

/// V^H of this rank's columns of V, from the matrix M that all ranks hold in whole tiles. V is
/// read piece by piece, so that it is nowhere once more.
template <Backend B, Scalar T>
void pull_eigenvectors(Rank<B>& rank, const SyevdProblem& problem, MatrixView<T> M,
                       const PanelStorage<T>& staging, MatrixView<T> V) {
  auto& panel = rank.panel();
  auto& copies = rank.copies();
  const index_t n = problem.order, tag = rank.reserve(1);
  rank.post(tag, M.data, copies);
  B::template fill<T>(panel, T(0), V);
  PanelRing<B, T> ring(staging);
  index_t turn = 0;
  for (const Piece& piece : pieces(problem.layout(), tiles_of(problem.matrix()))) {
    if (piece.block.rank != rank.index()) continue;
    const int owner = piece.cyclic.rank;
    const MatrixView<const T> theirs(rank.template take<T>(owner, tag, copies), n, M.cols, M.ld);
    const MatrixView<T> mine = ring.acquire(turn, n, piece.width, copies);
    rank.template read<T>(owner, copies,
                          theirs.column_range(piece.cyclic.local, piece.cyclic.local + piece.width),
                          mine);
    panel.wait(copies.record());
    B::template conj_transpose<T>(panel, mine, V.block(piece.block.local, 0, piece.width, n));
    ring.release(turn++, {panel.record(), {}, {}});
  }
}

/// w, and V as rows where it is wanted, by such a library: see syevd_program().
///
/// No eigenvalue of padding joins the spectrum: the library is told the true order, and its last
/// tile is then narrower; only memory is rounded up to whole tiles. Both triangles are there, and
/// the largest entry lies in [0.5, 1), so that neither its scaling nor what it reads is left to it.
/// What is not finite it never sees: its iterations need not end then.
template <class B, Scalar T>
requires EigenBackendFor<B, T>
void syevd_by_team_solver(Rank<B>& rank, const SyevdProblem& problem, const SyevdOperands<T>& op,
                          TeamSolverSeat& seat) {
  using R = real_t<T>;
  Arena arena(op.workspace);
  const auto work = TeamSolverSyevdWorkspace<T>::carve(arena, problem);
  const BlockCyclic layout = tiles_of(problem.matrix());
  const index_t n = problem.order;
  auto& panel = rank.panel();
  Stages<B> stages(rank, op.listener);
  stages.begin("distribution");
  const MatrixView<T> M = work.tiles.matrix.data == nullptr ? op.A : work.tiles.matrix;
  distribute_in_whole_tiles<B, T>(rank, problem.matrix(), op.A, M, work.tiles.staging);
  panel.wait(rank.copies().record());
  mirror_and_scale<B, T>(rank, layout, M, work.tiles.panels, work.largest, work.all_largest);
  std::vector<double> largest(static_cast<std::size_t>(rank.size()));
  B::download(panel, work.all_largest, rank.size(), largest.data());

  panel.synchronize();
  const bool finite =
      std::all_of(largest.begin(), largest.end(), [](double x) { return std::isfinite(x); });

  stages.begin("solution by the library");
  std::vector<R> w(static_cast<std::size_t>(rank.index() == 0 ? n : 0));
  std::int64_t info = finite ? 0 : 1;
  if (finite && n > 0) {
    const TeamRoutine routine =
        problem.with_vectors() ? TeamRoutine::syevd : TeamRoutine::eigenvalues;
    SolverOfRank0<B> solver(rank, {dtype_of<T>(), n, problem.tile, routine, 0, {}, {}, {}}, M.data,
                            nullptr, seat);
    info = solver([&](TeamSolver& by) { return by.syevd(w.data()); });
  }
  B::template fill<std::int32_t>(panel, static_cast<std::int32_t>(info), {op.info, 1, 1, 1});

  stages.begin("collection");
  const index_t w_tag = rank.reserve(1);
  const MatrixView<R> W(op.w, n, 1, n);
  if (rank.index() == 0) {
    B::upload(panel, std::move(w), op.w);
    B::template scale_from_one(panel, work.all_largest, rank.size(), W);
    B::template fill_nan_if<R>(panel, op.info, W);  // nobody reads it yet
    rank.post(w_tag, op.w, panel);
  } else {
    const MatrixView<const R> found(rank.template take<R>(0, w_tag, panel), n, 1, n);
    rank.template read<R>(0, panel, found, W);
  }
  if (problem.with_vectors()) {
    pull_eigenvectors<B, T>(rank, problem, M, work.tiles.panels, op.V);
    B::template fill_nan_if<T>(panel, op.info, op.V);
  }
  stages.end();
}

/// Bytes of any rank's workspace of syevd, by the problem's engine.
template <Scalar T>
std::size_t syevd_workspace_bytes(const SyevdProblem& problem, const BackendTraits& traits) {
  return problem.engine == Engine::jaxmg
             ? SyevdWorkspace<T>::most_bytes(problem, traits.reads_peers_directly)
             : TeamSolverSyevdWorkspace<T>::bytes(problem);
}

/// syevd by the problem's engine; `seat` is for engines other than ours.
template <class B, Scalar T>
requires EigenBackendFor<B, T>
void run_syevd(Rank<B>& rank, const SyevdProblem& problem, const SyevdOperands<T>& op,
               TeamSolverSeat* seat) {
  if (problem.engine == Engine::jaxmg) return syevd_program<B, T>(rank, problem, op);
  syevd_by_team_solver<B, T>(rank, problem, op, *seat);
}

}  // namespace jaxmg
