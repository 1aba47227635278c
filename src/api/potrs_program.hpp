// The rank programs behind potrf and potrs, for every front end.
#pragma once

#include "algorithms/cholesky/solve.hpp"
#include "algorithms/redistribute/in_place.hpp"
#include "algorithms/redistribute/out_of_place.hpp"
#include "api/cholesky_plan.hpp"

namespace jaxmg {

/// One rank's operands of potrs. Right-hand sides are rows (see algorithms/cholesky/solve.hpp).
template <Scalar T>
struct PotrsOperands {
  MatrixView<T> A;        ///< this rank's block of M, columns x n_loc; read only unless in place
  MatrixView<const T> B;  ///< rhs x at least `order`, all of it on every rank
  MatrixView<T> X;        ///< rhs x at least `order`; columns from `order` on become zero
  real_t<T>* logdet;      ///< log det A, or null
  std::int32_t* info;     ///< 0, or the order of the first minor that is not positive definite
  void* workspace;
};

/// The working matrix in the cyclic layout: A itself, permuted, or the workspace's copy, pulled.
/// Afterwards panel and bulk wait for it.
template <Backend B, Scalar T>
MatrixView<T> distribute(Rank<B>& rank, const CholeskyProblem& problem, MatrixView<T> A,
                         const CholeskyWorkspace<B, T>& work) {
  const BlockCyclic layout = problem.layout();
  if (problem.in_place) {
    permute_in_place<B, T>(rank, layout, block_to_cyclic_cycles(layout), A, work.staging);
  } else {
    block_to_cyclic<B, T>(rank, layout, A, work.matrix, Rows::from_diagonal);
  }
  const auto distributed = rank.copies().record();
  rank.panel().wait(distributed);
  rank.bulk().wait(distributed);
  return problem.in_place ? A : work.matrix;
}

/// A = L L^H of the working matrix. Each rank's info and share of log det A stay in `scalars`, to
/// be agreed on by agree_on_outcome().
template <Backend B, Scalar T>
void factor_matrix(Rank<B>& rank, const CholeskyProblem& problem, MatrixView<T> M,
                   const CholeskyWorkspace<B, T>& work) {
  const BlockCyclic layout = problem.layout();
  auto& panel = rank.panel();
  B::template fill<std::int32_t>(panel, 0, {work.scalars.info, 1, 1, 1});
  B::template fill<double>(panel, 0, {work.scalars.share, 1, 1, 1});
  PanelRing<B, T> ring(work.ring);
  potrf<B, T>(rank, layout, M, ring, work.substitution, work.scalars.info);
  logdet<B, T>(rank, layout, M, work.scalars.share);
}

/// *info and, if it is not null, *logdet (NaN where *info is not 0), the same on all ranks.
template <Backend B, Scalar T>
void agree_on_outcome(Rank<B>& rank, const CholeskyScalars& scalars, std::int32_t* info,
                      real_t<T>* logdet) {
  auto& panel = rank.panel();
  rank.all_reduce_info(panel, scalars.info, scalars.infos, info);
  if (logdet == nullptr) return;
  rank.all_reduce_sum(panel, scalars.share, scalars.shares, scalars.logdet);
  B::round_to(panel, scalars.logdet, logdet);
  B::template fill_nan_if<real_t<T>>(panel, info, {logdet, 1, 1, 1});
}

/// x with A x = b, from A as JAX holds it. n^3 / 3 + 2 n^2 rhs flops (times 4 for complex).
template <Backend B, Scalar T>
void potrs_program(Rank<B>& rank, const CholeskyProblem& problem, const PotrsOperands<T>& op) {
  Arena arena(op.workspace);
  const auto work = CholeskyWorkspace<B, T>::carve(arena, problem, rank.reads_peers_directly());
  const BlockCyclic layout = problem.layout();
  auto& panel = rank.panel();

  const MatrixView<T> M = distribute<B, T>(rank, problem, op.A, work);
  factor_matrix<B, T>(rank, problem, M, work);
  forward_substitution<B, T>(rank, layout, M, op.B, work.U);
  backward_substitution<B, T>(rank, layout, M, work.U, op.X);
  B::template fill<T>(panel, T(0), op.X.column_range(problem.order, op.X.cols));

  agree_on_outcome<B, T>(rank, work.scalars, op.info, op.logdet);
  B::template fill_nan_if<T>(panel, op.info, op.X);
}

}  // namespace jaxmg
