// The rank programs behind a factor that is kept: cho_factor and cho_solve.
#pragma once

#include "algorithms/cholesky/solve_spread.hpp"
#include "api/potrs_program.hpp"

namespace jaxmg {

/// One rank's operands of cho_factor.
template <Scalar T>
struct ChoFactorOperands {
  MatrixView<T> A;           ///< this rank's block of M, columns x n_loc; read only unless in place
  MatrixView<T> L;           ///< the factor's storage, columns x n_loc: A itself if in place
  TileInverses<T> inverses;  ///< tile x n_loc, or empty
  real_t<T>* logdet;         ///< log det A
  std::int32_t* info;        ///< 0, or the order of the first minor that is not positive definite
  void* workspace;
};

/// `problem` of a factor that is kept, with its tile: never on one rank.
inline CholeskyProblem planned_factor(CholeskyProblem problem, Platform platform, DType dtype) {
  problem = planned(problem, platform, dtype);
  problem.on_one_rank = false;
  problem.kept = true;
  return problem;
}

/// A = L L^H, L left in the cyclic layout. n^3 / 3 flops (times 4 for complex).
template <Backend B, Scalar T>
void cho_factor_program(Rank<B>& rank, const CholeskyProblem& problem,
                        const ChoFactorOperands<T>& op) {
  Arena arena(op.workspace);
  auto work = CholeskyWorkspace<T>::carve(arena, problem, traits_of(rank));
  work.solve.inverses = op.inverses;
  const MatrixView<T> M = distribute<B, T>(rank, problem, op.A, {op.L, work.staging});
  factor_matrix<B, T>(rank, problem, M, work);
  agree_on_outcome<B, T>(rank, work.scalars, op.info, op.logdet);
}

/// What every rank of a cho_solve agrees on.
struct ChoSolveProblem {
  index_t columns;  ///< of the factor's storage
  index_t order;
  int ranks;
  index_t tile;
  index_t rhs;        ///< right-hand sides of a rank
  bool spread;        ///< each rank has its own right-hand sides; else all have all of them
  bool has_inverses;  ///< of the diagonal tiles

  /// Throws InvalidArgument on sizes that make no sense.
  BlockCyclic layout() const { return {columns, ranks, tile, order}; }
};

/// A rank's workspace.
template <Scalar T>
struct ChoSolveWorkspace {
  SpreadSolveWork<T> spread;
  MatrixView<T> rows;  ///< rhs x tile, where there are inverses
  MatrixView<T> U;     ///< rhs x n, if not spread

  static ChoSolveWorkspace carve(Arena& arena, const ChoSolveProblem& p,
                                 bool reads_peers_directly) {
    ChoSolveWorkspace work;
    if (p.has_inverses) work.rows = arena.take_matrix<T>(p.rhs, p.tile);
    if (!p.spread) {
      work.U = arena.take_matrix<T>(p.rhs, p.order);
      return work;
    }
    work.spread.rows = work.rows;
    if (reads_peers_directly || p.ranks == 1) return work;
    for (MatrixView<T>& slot : work.spread.columns) {
      slot = arena.take_matrix<T>(p.columns, p.tile);
    }
    if (!p.has_inverses) return work;
    for (MatrixView<T>& slot : work.spread.inverses) slot = arena.take_matrix<T>(p.tile, p.tile);
    return work;
  }
  static std::size_t bytes(const ChoSolveProblem& problem, bool reads_peers_directly) {
    Arena arena;
    carve(arena, problem, reads_peers_directly);
    return arena.bytes();
  }
};

/// One rank's operands of cho_solve. Right-hand sides are rows (see algorithms/cholesky/solve.hpp).
template <Scalar T>
struct ChoSolveOperands {
  MatrixView<const T> L;
  TileInverses<T> inverses;
  const std::int32_t* info;  ///< of the factorisation
  MatrixView<const T> B;     ///< rhs x at least `order`
  MatrixView<T> X;           ///< likewise; columns from `order` on become zero
  void* workspace;
};

/// x with A x = b, from the factor of A; NaN if there is none. 2 n^2 flops a right-hand side (times
/// 4 for complex), shared by the ranks either way.
template <Backend B, Scalar T>
void cho_solve_program(Rank<B>& rank, const ChoSolveProblem& problem,
                       const ChoSolveOperands<T>& op) {
  Arena arena(op.workspace);
  const auto work = ChoSolveWorkspace<T>::carve(arena, problem, rank.reads_peers_directly());
  const BlockCyclic layout = problem.layout();
  auto& queue = problem.spread ? rank.bulk() : rank.panel();
  const MatrixView<T> X = op.X.column_range(0, problem.order);
  if (problem.spread) {
    B::template copy<T>(queue, op.B.column_range(0, problem.order), X);
    SpreadSolve<B, T>(rank, layout, op.L, op.inverses, work.spread).run(X);
  } else {
    const SolveWork<T> solve{op.inverses, work.rows};
    forward_substitution<B, T>(rank, layout, op.L, solve, op.B, work.U, op.X);
    // Peers read tiles of X up to the call's end, and of U those that are not this rank's.
    for (index_t k = layout.first_owned(rank.index(), 0); k < layout.tiles(); k += rank.size()) {
      const MatrixView<T> Y = work.U.column_range(layout.offset(k), layout.offset(k + 1));
      B::template fill_nan_if<T>(queue, op.info, Y);
    }
    backward_substitution<B, T>(rank, layout, op.L, solve, work.U, op.X);
  }
  const MatrixView<T> padding = op.X.column_range(problem.order, op.X.cols);
  B::template fill<T>(queue, T(0), padding);
  B::template fill_nan_if<T>(queue, op.info, padding);
  if (problem.spread) B::template fill_nan_if<T>(queue, op.info, X);
}

}  // namespace jaxmg
