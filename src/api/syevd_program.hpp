// The rank program behind syevd, for every front end.
#pragma once

#include "algorithms/cholesky/mirror.hpp"
#include "algorithms/eigen/tridiagonal/bisection.hpp"
#include "api/potri_program.hpp"
#include "api/syevd_plan.hpp"
#include "device/contract_scaling.hpp"

namespace jaxmg {

/// What an eigensolver asks of a backend.
template <class B, class T>
concept EigenBackendFor = ScalingBackendFor<B, T> && BandReductionBackend<B> &&
    BulgeChasingBackendFor<B, T> && TridiagonalBackendFor<B, real_t<T>>;

/// One rank's operands of syevd.
template <Scalar T>
struct SyevdOperands {
  MatrixView<T> A;     ///< this rank's block of M, columns x n_loc; read only unless in place
  real_t<T>* w;        ///< `order` eigenvalues, ascending, the same on all ranks
  MatrixView<T> V;     ///< columns x n_loc: this rank's block of eigenvectors, zero beyond the
                       ///< order; empty for eigenvalues alone
  std::int32_t* info;  ///< 0, or not where A is not finite or a stage does not converge
  void* workspace;
};

/// What all ranks had given to their queues before is done when any queue goes on: their memory may
/// be written again.
template <Backend B>
void meet(Rank<B>& rank) {
  auto& panel = rank.panel();
  for (auto* queue : {&rank.bulk(), &rank.ahead(), &rank.copies()}) panel.wait(queue->record());
  rank.barrier(panel);
  const auto met = panel.record();
  for (auto* queue : {&rank.bulk(), &rank.ahead(), &rank.copies()}) queue->wait(met);
}

/// The working matrix in the cyclic layout, both triangles of it, from A's lower one, scaled by the
/// power of two that makes its largest entry one.
template <class B, Scalar T>
MatrixView<T> scaled_matrix(Rank<B>& rank, const SyevdProblem& problem, MatrixView<T> A,
                            const SyevdWorkspace<T>& work) {
  const BlockCyclic layout = problem.layout();
  auto& panel = rank.panel();
  CholeskyWorkspace<T> target{};
  target.matrix = work.matrix;
  target.staging = work.staging;
  const MatrixView<T> M = distribute<B, T>(rank, problem.matrix(), A, target);
  meet(rank);
  mirror<B, T>(rank, layout, M, work.panels);
  const index_t count = layout.local_columns_before(rank.index(), layout.tiles());
  const MatrixView<T> own = M.block(0, 0, problem.order, count);
  B::template largest_part<T>(panel, own, work.largest);
  // Who has posted this has read all that it mirrors.
  rank.all_gather(panel, work.largest, work.all_largest);
  B::template scale_to_one<T>(panel, work.all_largest, rank.size(), own);
  meet(rank);
  return M;
}

/// V := Q1 Q2 Z for the decomposition Z diag(w) Z^T of the tridiagonal matrix.
template <class B, Scalar T>
void find_eigenvectors(Rank<B>& rank, const SyevdProblem& problem, MatrixView<T> M,
                       const SyevdOperands<T>& op, const SyevdWorkspace<T>& work) {
  using R = real_t<T>;
  const index_t n = problem.order, m = problem.columns_of_rank(rank.index());
  const BulgeChasingPlan plan = problem.bulge_chasing();
  const MatrixView<T> V = op.V.block(0, 0, n, m);
  MatrixView<R> Z = work.Z;
  if constexpr (!is_complex_v<T>) Z = op.V.row_range(0, n);
  divide_and_conquer<B, R>(rank, n, work.tridiagonal.d, work.tridiagonal.e, op.w, Z, op.info,
                           work.merging);
  meet(rank);
  bulge_back_transform<B, T, R>(rank, plan.sweeps(), plan.group, work.tridiagonal.reflectors,
                                work.tridiagonal.phases, Z.column_range(0, m), V,
                                work.from_tridiagonal);
  meet(rank);
  apply_band_reduction<B, T>(rank, problem.layout(), M, work.band.factors, problem.band.bandwidth,
                             V, work.from_band);
}

/// M = V diag(w) V^H for a Hermitian M, of which the lower triangle is read, in two stages:
///
///     2^k M = Q1 B Q1^H,   B = Q2 T Q2^H,   T = Z diag(2^k w) Z^T,   V = Q1 Q2 Z;
///
/// see algorithms/eigen/. With eigenvectors up to 28/3 n^3 / P flops a rank, without them 2 n^3 / P
/// (times 4 for complex), and 6 b n^2 on rank 0 alone. Where *info is not 0, w and V are NaN.
template <class B, Scalar T>
requires EigenBackendFor<B, T>
void syevd_program(Rank<B>& rank, const SyevdProblem& problem, const SyevdOperands<T>& op) {
  using R = real_t<T>;
  Arena arena(op.workspace);
  const auto work =
      SyevdWorkspace<T>::carve(arena, problem, rank.index(), rank.reads_peers_directly());
  const index_t n = problem.order;
  auto& panel = rank.panel();

  const MatrixView<T> M = scaled_matrix<B, T>(rank, problem, op.A, work);
  band_reduction<B, T>(rank, problem.layout(), M, work.band, work.reduction);
  meet(rank);
  bulge_chasing<B, T>(rank, problem.bulge_chasing().sweeps(), work.band.band, work.chasing,
                      work.tridiagonal);
  meet(rank);
  if (problem.eigenvectors) {
    find_eigenvectors<B, T>(rank, problem, M, op, work);
    clear_padding<B, T>(rank, problem.matrix(), op.V);
    B::template fill_nan_if<T>(panel, op.info, op.V);
  } else {
    eigenvalues_by_bisection<B, R>(rank, n, work.tridiagonal.d, work.tridiagonal.e, op.w, op.info,
                                   work.own_eigenvalues);
  }
  B::template scale_from_one(panel, work.all_largest, rank.size(), MatrixView<R>(op.w, n, 1, n));
}

}  // namespace jaxmg
