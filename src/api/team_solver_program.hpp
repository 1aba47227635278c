// potrs and potri by another engine (engines/team_solver.hpp), for every front end: our
// redistribution around the calls of a library that one rank makes for all.
#pragma once

#include "api/potri_program.hpp"
#include "api/potrs_program.hpp"
#include "api/team_solver_call.hpp"

namespace jaxmg {

/// A rank's workspace. In elements, up to alignment, for n the order, k right-hand sides and m the
/// columns of a rank in whole tiles: n m for the working matrix, unless A's own storage serves,
/// which must be cut evenly by T (potrs: and be donated); n k; and 2 n T where A's storage is
/// permuted in place or the inverse is mirrored from memories of peers. The library's own scratch
/// comes on top: it is not a formula, and is allocated when it has told how much.
template <Scalar T>
struct TeamSolverWorkspace {
  CholeskyScalars scalars;
  WholeTiles<T> tiles;
  MatrixView<T> columns;  ///< order x rhs

  static TeamSolverWorkspace carve(Arena& arena, const CholeskyProblem& problem) {
    TeamSolverWorkspace work;
    const bool inverts = problem.rhs == 0;
    const bool in_own_storage = is_in_whole_tiles(problem) && (inverts || problem.in_place);
    work.scalars = CholeskyScalars::carve(arena, problem.ranks);
    work.tiles = WholeTiles<T>::carve(arena, problem, in_own_storage, inverts || in_own_storage);
    work.columns = arena.take_matrix<T>(problem.order, problem.rhs);
    return work;
  }
  static std::size_t bytes(const CholeskyProblem& problem) {
    Arena arena;
    carve(arena, problem);
    return arena.bytes();
  }
};

/// A matrix in whole tiles that is factored, and then used to solve or inverted, by such a library.
template <Backend B, Scalar T>
class MatrixOfTeamSolver {
 public:
  /// `M` is this rank's share; see TeamMatrix.
  MatrixOfTeamSolver(Rank<B>& rank, const CholeskyProblem& problem, MatrixView<T> M,
                     const TeamSolverWorkspace<T>& work, TeamSolverSeat& seat)
      : rank_(rank),
        problem_(problem),
        M_(M),
        scalars_(work.scalars),
        solver_(rank,
                {dtype_of<T>(),
                 problem.order,
                 problem.tile,
                 problem.rhs == 0 ? TeamRoutine::potri : TeamRoutine::potrs,
                 problem.rhs,
                 {},
                 {},
                 {}},
                M.data, work.columns.data, seat) {}

  /// Factors it. *info and, if it is not null, *logdet are as agree_on_outcome() leaves them, on
  /// the panel queue; the result is *info.
  ///
  /// The diagonal decides, where libraries differ in what they tell: one that stops leaves the
  /// entry there that is not positive, and a NaN may pass unnoticed.
  std::int32_t factor(std::int32_t* info, real_t<T>* logdet) {
    auto& panel = rank_.panel();
    std::int64_t told = 0;
    if (problem_.order > 0) told = solver_([](TeamSolver& by) { return by.potrf(); });
    clear_outcome<B>(rank_, scalars_);
    const BlockCyclic layout = tiles_of(problem_);
    for (index_t k = layout.first_owned(rank_.index(), 0); k < layout.tiles(); k += rank_.size()) {
      const MatrixView<const T> column = tile_column<const T>(layout, M_, k);
      B::template note_failure<T>(panel, column.row_range(0, column.cols), layout.offset(k),
                                  scalars_.info);
    }
    jaxmg::logdet<B, T>(rank_, layout, M_, scalars_.share);
    agree_on_outcome<B, T>(rank_, scalars_, info, logdet);
    std::int32_t found = 0;
    B::download(panel, info, 1, &found);
    panel.synchronize();
    if (found != 0 || told == 0) return found;
    if (told < 0) {
      throw DeviceError("the factorisation stopped, though the factor's diagonal is positive");
    }
    found = static_cast<std::int32_t>(told);
    B::template fill<std::int32_t>(panel, found, {info, 1, 1, 1});
    if (logdet != nullptr) B::template fill_nan_if<real_t<T>>(panel, info, {logdet, 1, 1, 1});
    return found;
  }

  /// The columns of right-hand sides on rank 0 become solutions.
  void solve() {
    solver_([](TeamSolver& by) { return by.potrs(), 0; });
  }
  /// The lower triangle becomes that of the inverse.
  void invert() {
    solver_([](TeamSolver& by) { return by.potri(), 0; });
  }

 private:
  Rank<B>& rank_;
  CholeskyProblem problem_;
  MatrixView<T> M_;
  CholeskyScalars scalars_;
  SolverOfRank0<B> solver_;
};

/// x with A x = b by such a library: see potrs_program(). Its right-hand sides are columns, on rank
/// 0: M conj(x) = conj(b) for M = A^T.
template <Backend B, Scalar T>
void potrs_by_team_solver(Rank<B>& rank, const CholeskyProblem& problem, const PotrsOperands<T>& op,
                          TeamSolverSeat& seat) {
  Arena arena(op.workspace);
  const auto work = TeamSolverWorkspace<T>::carve(arena, problem);
  auto& panel = rank.panel();
  const MatrixView<T> M = work.tiles.matrix.data == nullptr ? op.A : work.tiles.matrix;
  const MatrixView<T> X = op.X.column_range(0, problem.order);
  distribute_in_whole_tiles<B, T>(rank, problem, op.A, M, work.tiles.staging);
  if (rank.index() == 0) {
    B::template conj_transpose<T>(panel, op.B.column_range(0, problem.order), work.columns);
  }

  MatrixOfTeamSolver<B, T> matrix(rank, problem, M, work, seat);
  const bool solvable = matrix.factor(op.info, op.logdet) == 0;
  if (solvable && problem.order > 0) matrix.solve();

  const index_t x_tag = rank.reserve(1);
  if (rank.index() == 0) {
    B::template conj_transpose<T>(panel, work.columns, X);
    B::template fill_nan_if<T>(panel, op.info, X);  // nobody reads it yet
    rank.post(x_tag, X.data, panel);
  } else {
    const MatrixView<const T> solved(rank.template take<T>(0, x_tag, panel), X.rows, X.cols, X.ld);
    rank.template read<T>(0, panel, solved, X);
  }
  const MatrixView<T> padding = op.X.column_range(problem.order, op.X.cols);
  B::template fill<T>(panel, T(0), padding);
  B::template fill_nan_if<T>(panel, op.info, padding);
}

/// The inverse of A, both triangles, in A's own layout, by such a library: see potri_program().
template <Backend B, Scalar T>
void potri_by_team_solver(Rank<B>& rank, const CholeskyProblem& problem, const PotriOperands<T>& op,
                          TeamSolverSeat& seat) {
  Arena arena(op.workspace);
  const auto work = TeamSolverWorkspace<T>::carve(arena, problem);
  const BlockCyclic layout = tiles_of(problem);
  const MatrixView<T> M = work.tiles.matrix.data == nullptr ? op.X : work.tiles.matrix;
  distribute_in_whole_tiles<B, T>(rank, problem, op.A, M, work.tiles.staging);

  MatrixOfTeamSolver<B, T> matrix(rank, problem, M, work, seat);
  const bool invertible = matrix.factor(op.info, op.logdet) == 0;
  if (invertible && problem.order > 0) {
    matrix.invert();
    mirror<B, T>(rank, layout, M, work.tiles.panels);
    if (M.data == op.X.data) {
      gather_blocks<B, T>(rank, layout, op.X, work.tiles.staging);
    } else {
      cyclic_to_block<B, T>(rank, layout, problem.layout(), M, op.X, Rows::all);
      rank.panel().wait(rank.copies().record());
    }
  }
  clear_padding<B, T>(rank, problem, op.X);
  B::template fill_nan_if<T>(rank.panel(), op.info, op.X);
}

/// Bytes of a rank's workspace of potrs, by the problem's engine.
template <Scalar T>
std::size_t potrs_workspace_bytes(const CholeskyProblem& problem, const BackendTraits& traits) {
  return problem.engine == Engine::jaxmg ? CholeskyWorkspace<T>::bytes(problem, traits)
                                         : TeamSolverWorkspace<T>::bytes(problem);
}

/// The same for potri.
template <Scalar T>
std::size_t potri_workspace_bytes(const CholeskyProblem& problem, const BackendTraits& traits) {
  return problem.engine == Engine::jaxmg ? PotriWorkspace<T>::bytes(problem, traits)
                                         : TeamSolverWorkspace<T>::bytes(problem);
}

/// potrs by the problem's engine; `seat` is for engines other than ours.
template <Backend B, Scalar T>
void run_potrs(Rank<B>& rank, const CholeskyProblem& problem, const PotrsOperands<T>& op,
               TeamSolverSeat* seat) {
  if (problem.engine == Engine::jaxmg) return potrs_program<B, T>(rank, problem, op);
  potrs_by_team_solver<B, T>(rank, problem, op, *seat);
}

/// potri, likewise.
template <Backend B, Scalar T>
void run_potri(Rank<B>& rank, const CholeskyProblem& problem, const PotriOperands<T>& op,
               TeamSolverSeat* seat) {
  if (problem.engine == Engine::jaxmg) return potri_program<B, T>(rank, problem, op);
  potri_by_team_solver<B, T>(rank, problem, op, *seat);
}

}  // namespace jaxmg
