// The rank programs behind potri and the inverse of a kept factor, for every front end.
#pragma once

#include "algorithms/cholesky/inverse_of_factor.hpp"
#include "algorithms/cholesky/inverse_sweep.hpp"
#include "algorithms/cholesky/mirror.hpp"
#include "api/potrs_program.hpp"

namespace jaxmg {

/// The layout of an inverse by one rank alone, the others only waiting: tiles as wide as suits the
/// look-ahead.
inline BlockCyclic alone_layout(const CholeskyProblem& problem) {
  constexpr index_t widest = 256;
  const index_t tile = std::min(even_tile(problem.order, widest), problem.columns);
  return {problem.columns, 1, std::max<index_t>(1, tile), problem.order};
}

template <Scalar T>
FactorInverseWork<T> take_factor_inverse_work(Arena& arena, const BlockCyclic& layout,
                                              PanelMethod method) {
  const index_t tile = std::min(layout.tile(), layout.local_columns());
  FactorInverseWork<T> work;
  if (layout.ranks() > 1) work.panels = take_panels<T>(arena, layout.columns(), tile);
  work.row = arena.take_matrix<T>(tile, layout.local_columns());
  work.lower = arena.take_matrix<T>(tile, tile);
  work.inverse = arena.take_matrix<T>(tile, tile);
  work.product = arena.take_matrix<T>(tile, tile);
  if (method != PanelMethod::trsm) work.solution = arena.take_matrix<T>(layout.columns(), tile);
  return work;
}

/// A rank's workspace of potri. Beside the result's own storage it is, in elements and up to
/// alignment, for n storage rows, n_loc columns a rank, tiles of width T and P ranks:
/// 2 n T + T^2, 2 n_loc T more for P > 1, T^2 more where peers' data is pulled, and, where the
/// backend does not solve by trsm, T^2 + 256 T + max(8 T, n / 8) T more. On one rank: n^2 and what
/// the inverse of a factor takes.
template <Scalar T>
struct PotriWorkspace {
  MatrixView<T> matrix;   ///< of all columns, if on one rank
  MatrixView<T> staging;  ///< two tile columns; shares its storage with what follows
  SweepWork<T> sweep;
  FactorInverseWork<T> inverse;  ///< if on one rank
  CholeskyScalars scalars;

  static PotriWorkspace carve(Arena& arena, const CholeskyProblem& problem,
                              const BackendTraits& traits);
  static std::size_t bytes(const CholeskyProblem& problem, const BackendTraits& traits) {
    Arena arena;
    carve(arena, problem, traits);
    return arena.bytes();
  }
};

template <Scalar T>
PotriWorkspace<T> PotriWorkspace<T>::carve(Arena& arena, const CholeskyProblem& p,
                                           const BackendTraits& traits) {
  PotriWorkspace work;
  work.scalars = CholeskyScalars::carve(arena, p.ranks);
  if (p.on_one_rank) {
    work.matrix = take_working_copy<T>(arena, p.columns, p.columns);
    work.inverse = take_factor_inverse_work<T>(arena, alone_layout(p), traits.panel_method);
    return work;
  }
  const BlockCyclic layout = p.layout();
  const index_t tile = std::min(layout.tile(), layout.local_columns());
  Arena redistribution = arena;
  work.staging = redistribution.take_matrix<T>(p.columns, staging_columns(layout));
  work.sweep.panels = take_panels<T>(arena, p.columns, tile);
  work.sweep.inverse = arena.take_matrix<T>(tile, tile);
  if (layout.ranks() > 1) {
    work.sweep.parts = take_panels<T>(arena, layout.local_columns(), tile);
    if (!traits.reads_peers_directly) work.sweep.lower = arena.take_matrix<T>(tile, tile);
  }
  work.sweep.substitution = take_substitution_work<T>(arena, layout, tile, traits.panel_method);
  arena.cover(redistribution);
  return work;
}

/// One rank's operands of potri.
template <Scalar T>
struct PotriOperands {
  MatrixView<T> A;     ///< this rank's block of M, columns x n_loc; read only
  MatrixView<T> X;     ///< its block of M^-1, likewise; A itself if in place. Zero beyond the order
  real_t<T>* logdet;   ///< log det A, or null
  std::int32_t* info;  ///< 0, or the order of the first minor that is not positive definite
  void* workspace;
};

/// The columns of a rank's block that count: `order` rows of them.
template <class T>
MatrixView<T> counting_block(const CholeskyProblem& problem, int rank, MatrixView<T> block) {
  const index_t n_loc = problem.columns / problem.ranks;
  const index_t first = std::min(rank * n_loc, problem.order);
  return block.block(0, 0, problem.order, std::min(n_loc, problem.order - first));
}

/// Rank 0 pulls the lower triangle and inverts alone, by way of the factor: as many flops as the
/// sweep, and a small residual for every matrix. All ranks pull their columns. For sizes where a
/// step of the distributed algorithm costs more than its work.
template <Backend B, Scalar T>
void invert_on_one_rank(Rank<B>& rank, const CholeskyProblem& problem, const PotriOperands<T>& op,
                        const PotriWorkspace<T>& work) {
  auto& panel = rank.panel();
  const BlockCyclic layout = alone_layout(problem);
  const index_t n = problem.order, n_loc = problem.columns / problem.ranks;
  const index_t a_tag = rank.reserve(2), x_tag = a_tag + 1;
  rank.post(a_tag, op.A.data, panel);
  if (rank.index() == 0) {
    const MatrixView<T> M = work.matrix.block(0, 0, n, n);
    pull_lower<B, T>(rank, a_tag, op.A, n, M);
    B::template potrf<T>(panel, M, 0, work.scalars.info);
    B::template add_logdet<T>(panel, M, work.scalars.share);
    rank.bulk().wait(panel.record());
    inverse_of_factor<B, T>(rank, layout, work.matrix, work.inverse);
    mirror<B, T>(rank, layout, work.matrix, work.inverse.panels);
    rank.post(x_tag, work.matrix.data, panel);
  }
  const MatrixView<T> X = counting_block<T>(problem, rank.index(), op.X);
  const index_t ld = padded_ld<T>(problem.columns);
  const T* inverse = rank.template take<T>(0, x_tag, panel) + rank.index() * n_loc * ld;
  rank.template read<T>(0, panel, {inverse, X.rows, X.cols, ld}, X);
  take_outcome_of_rank_0<B, T>(rank, work.scalars, op.info, op.logdet);
}

/// Cyclic -> block, in place, of all rows; rank.panel() and rank.copies() have the matrix ready.
template <Backend B, Scalar T>
void gather_blocks(Rank<B>& rank, const BlockCyclic& layout, MatrixView<T> X,
                   MatrixView<T> staging) {
  permute_in_place<B, T>(rank, layout, cyclic_to_block_cycles(layout), X, staging, Rows::all);
  rank.panel().wait(rank.copies().record());
}

/// Zero beyond the order.
template <Backend B, Scalar T>
void clear_padding(Rank<B>& rank, const CholeskyProblem& problem, MatrixView<T> X) {
  const MatrixView<T> block = counting_block<T>(problem, rank.index(), X);
  B::template fill<T>(rank.panel(), T(0), X.column_range(block.cols, X.cols));
  B::template fill<T>(rank.panel(), T(0),
                      X.column_range(0, block.cols).row_range(block.rows, X.rows));
}

/// The inverse of A, both triangles of it, in A's own layout. n^3 flops (times 4 for complex).
///
/// X is the working matrix, so that no second copy of A is needed: A is pulled into it, or turned
/// in place, and the result is turned back in place.
template <Backend B, Scalar T>
void potri_program(Rank<B>& rank, const CholeskyProblem& problem, const PotriOperands<T>& op) {
  Arena arena(op.workspace);
  const auto work = PotriWorkspace<T>::carve(arena, problem, traits_of(rank));
  const BlockCyclic layout = problem.layout();
  auto& panel = rank.panel();
  clear_outcome<B>(rank, work.scalars);

  if (problem.on_one_rank) {
    invert_on_one_rank<B, T>(rank, problem, op, work);
  } else {
    distribute<B, T>(rank, problem, op.A, {op.X, work.staging});
    rank.ahead().wait(panel.record());
    inverse_sweep<B, T>(rank, layout, op.X, work.sweep, work.scalars.info, work.scalars.share);
    mirror<B, T>(rank, layout, op.X, work.sweep.panels);
    gather_blocks<B, T>(rank, layout, op.X, work.staging);
    agree_on_outcome<B, T>(rank, work.scalars, op.info, op.logdet);
  }
  clear_padding<B, T>(rank, problem, op.X);
  B::template fill_nan_if<T>(panel, op.info, op.X);
}

/// A rank's workspace of the inverse of a kept factor: see FactorInverseWork.
template <Scalar T>
struct FactorInverseWorkspace {
  MatrixView<T> staging;  ///< two tile columns; shares its storage with what follows
  FactorInverseWork<T> inverse;

  static FactorInverseWorkspace carve(Arena& arena, const CholeskyProblem& problem,
                                      const BackendTraits& traits);
  static std::size_t bytes(const CholeskyProblem& problem, const BackendTraits& traits) {
    Arena arena;
    carve(arena, problem, traits);
    return arena.bytes();
  }
};

template <Scalar T>
FactorInverseWorkspace<T> FactorInverseWorkspace<T>::carve(Arena& arena, const CholeskyProblem& p,
                                                           const BackendTraits& traits) {
  const BlockCyclic layout = p.layout();
  FactorInverseWorkspace work;
  Arena redistribution = arena;
  work.staging = redistribution.take_matrix<T>(p.columns, staging_columns(layout));
  work.inverse = take_factor_inverse_work<T>(arena, layout, traits.panel_method);
  arena.cover(redistribution);
  return work;
}

/// The inverse of A = L L^H, both triangles of it, in block columns. `L` is this rank's storage of
/// the factor in the cyclic layout; `X` its block of the inverse, of the same shape; `info` the
/// factorisation's, which the rank's device can read. 2 n^3 / 3 flops (times 4 for complex).
template <Backend B, Scalar T>
void factor_inverse_program(Rank<B>& rank, const CholeskyProblem& problem, MatrixView<const T> L,
                            MatrixView<T> X, const std::int32_t* info, void* workspace) {
  Arena arena(workspace);
  const auto work = FactorInverseWorkspace<T>::carve(arena, problem, traits_of(rank));
  const BlockCyclic layout = problem.layout();
  auto& panel = rank.panel();
  const index_t cols = layout.local_columns_before(rank.index(), layout.tiles());
  B::template copy<T>(panel, L.block(0, 0, problem.order, cols),
                      X.block(0, 0, problem.order, cols));
  for (auto* queue : {&rank.bulk(), &rank.ahead(), &rank.copies()}) queue->wait(panel.record());
  inverse_of_factor<B, T>(rank, layout, X, work.inverse);
  mirror<B, T>(rank, layout, X, work.inverse.panels);
  gather_blocks<B, T>(rank, layout, X, work.staging);
  clear_padding<B, T>(rank, problem, X);
  B::template fill_nan_if<T>(panel, info, X);
}

}  // namespace jaxmg
