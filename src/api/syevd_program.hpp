// The rank program behind syevd, for every front end.
#pragma once

#include "algorithms/cholesky/mirror.hpp"
#include "algorithms/eigen/tridiagonal/bisection.hpp"
#include "api/potri_program.hpp"
#include "api/stages.hpp"
#include "api/syevd_plan.hpp"
#include "device/contract_scaling.hpp"

namespace jaxmg {

/// What an eigensolver asks of a backend.
template <class B, class T>
concept EigenBackendFor = SyevdBackendFor<B, T> && ScalingBackendFor<B, T> &&
    BandReductionBackend<B> && BulgeChasingBackendFor<B, T> && TridiagonalBackendFor<B, real_t<T>>;

/// One rank's operands of syevd.
template <Scalar T>
struct SyevdOperands {
  MatrixView<T> A;  ///< this rank's block of M, columns x n_loc; read only unless in place
  real_t<T>* w;     ///< `order` eigenvalues, ascending, the same on all ranks
  MatrixView<T> V;  ///< this rank's block of eigenvectors, zero beyond the order, without gaps:
                    ///< columns x n_loc, or, as rows, n_loc x columns; empty for eigenvalues alone
  std::int32_t* info;  ///< 0, or not where A is not finite or a stage does not converge
  void* workspace;
  StageListener listener = {};
};

/// All other queues go on where the panel queue is now.
template <Backend B>
void follow_panel(Rank<B>& rank) {
  const auto reached = rank.panel().record();
  for (auto* queue : {&rank.bulk(), &rank.ahead(), &rank.copies()}) queue->wait(reached);
}

/// A distributed Hermitian matrix, of which the lower triangle is there, ready for rank.panel() and
/// rank.copies(), gets its other one and is scaled by the power of two that brings its largest
/// entry into [0.5, 1): scale_from_one() with all_largest undoes that. `staging` as in mirror();
/// who comes to the end has read what it mirrors.
template <class B, Scalar T>
void mirror_and_scale(Rank<B>& rank, const BlockCyclic& layout, MatrixView<T> M,
                      const PanelStorage<T>& staging, double* largest, double* all_largest) {
  auto& panel = rank.panel();
  mirror<B, T>(rank, layout, M, staging);
  const index_t count = layout.local_columns_before(rank.index(), layout.tiles());
  const MatrixView<T> own = M.block(0, 0, layout.order(), count);
  B::template largest_part<T>(panel, own, largest);
  // Who has posted this has read all that it mirrors, and all staging.
  rank.all_gather(panel, largest, all_largest);
  B::template scale_to_one<T>(panel, all_largest, rank.size(), own);
  follow_panel(rank);
}

/// The working matrix in the cyclic layout, from A's lower triangle. All ranks have met.
template <class B, Scalar T>
MatrixView<T> scaled_matrix(Rank<B>& rank, const SyevdProblem& problem, MatrixView<T> A,
                            const SyevdWorkspace<T>& work) {
  const MatrixView<T> M = distribute<B, T>(rank, problem.matrix(), A, {work.matrix, work.staging});
  mirror_and_scale<B, T>(rank, problem.layout(), M, work.panels, work.largest, work.all_largest);
  return M;
}

/// U := V^H, n_loc x columns, zero beyond the order, for V = Q1 Q2 Z and the decomposition
/// Z diag(w) Z^T of the tridiagonal matrix. `other`: as many elements as U has.
template <class B, Scalar T>
void find_eigenvectors(Rank<B>& rank, const SyevdProblem& problem, MatrixView<T> M,
                       const SyevdOperands<T>& op, const SyevdWorkspace<T>& work, MatrixView<T> U,
                       T* other, Stages<B>& stages) {
  using R = real_t<T>;
  const index_t n = problem.order, m = problem.columns_of_rank(rank.index());
  const BulgeChasingPlan plan = problem.bulge_chasing();
  DivideAndConquerWork<R> merging = work.merging;
  merging.Q = reinterpret_cast<R*>(U.data);
  merging.infos = work.infos;
  const MatrixView<R> Z(reinterpret_cast<R*>(other), n, U.rows, n);
  stages.begin("divide and conquer");
  divide_and_conquer<B, R>(rank, n, work.tridiagonal.d, work.tridiagonal.e, op.w, Z, op.info,
                           merging);
  const MatrixView<T> eigenvectors = U.block(0, 0, m, n);
  stages.begin("bulge back-transform");
  bulge_back_transform<B, T, R>(rank, plan.sweeps(), plan.group, work.tridiagonal.reflectors,
                                work.tridiagonal.phases, Z.column_range(0, m), eigenvectors,
                                {other, m, n, U.ld}, work.from_tridiagonal);
  follow_panel(rank);
  stages.begin("band back-transform");
  apply_band_reduction<B, T>(rank, problem.layout(), M, work.band.factors, problem.band.bandwidth,
                             eigenvectors, work.from_band);
  B::template fill<T>(rank.panel(), T(0), U.row_range(m, U.rows));
  B::template fill<T>(rank.panel(), T(0), U.block(0, n, m, U.cols - n));
}

/// w, and V where op.V wants it, on all ranks together.
///
/// The stages share scratch, so that a stage may begin only where no peer reads what this rank's
/// last one had there. Each sees to that itself in its last exchange, but for the reduction to band
/// form, whose last exchange is with the owners of tiles alone.
template <class B, Scalar T>
void solve_in_two_stages(Rank<B>& rank, const SyevdProblem& problem, const SyevdOperands<T>& op,
                         const SyevdWorkspace<T>& work, Stages<B>& stages) {
  using R = real_t<T>;
  auto& panel = rank.panel();
  stages.begin("distribution");
  const MatrixView<T> M = scaled_matrix<B, T>(rank, problem, op.A, work);
  stages.begin("reduction to band form");
  band_reduction<B, T>(rank, problem.layout(), M, work.band, work.reduction);
  rank.barrier(panel);  // rank 0's scratch in the next stage is its Z's in this one
  stages.begin("bulge chasing");
  bulge_chasing<B, T>(rank, problem.bulge_chasing().sweeps(), work.band.band, work.chasing,
                      work.tridiagonal);
  if (!problem.with_vectors()) {
    stages.begin("bisection");
    eigenvalues_by_bisection<B, R>(rank, problem.order, work.tridiagonal.d, work.tridiagonal.e,
                                   op.w, op.info, work.own_eigenvalues);
  } else if (problem.eigenvectors == Eigenvectors::rows) {
    find_eigenvectors<B, T>(rank, problem, M, op, work, op.V, work.other, stages);
  } else {
    const MatrixView<T> U(work.other, op.V.cols, op.V.rows, op.V.cols);
    find_eigenvectors<B, T>(rank, problem, M, op, work, U, op.V.data, stages);
    stages.begin("transposition");
    B::template conj_transpose<T>(panel, U, op.V);
  }
  B::template fill_nan_if<T>(panel, op.info, op.V);
  B::template scale_from_one(panel, work.all_largest, rank.size(),
                             MatrixView<R>(op.w, problem.order, 1, problem.order));
}

/// Rank 0 pulls the lower triangle and calls the device's own solver; the others pull what it
/// finds. For sizes where a step of the distributed algorithm costs more than its work.
template <class B, Scalar T>
void solve_by_rank_0(Rank<B>& rank, const SyevdProblem& problem, const SyevdOperands<T>& op,
                     const SyevdWorkspace<T>& work) {
  using R = real_t<T>;
  auto& panel = rank.panel();
  const index_t n = problem.order, n_loc = problem.columns / problem.ranks;
  const index_t tags = rank.reserve(4);
  const MatrixView<T> M = work.matrix;
  const auto column_range = [&](int p) {
    const index_t first = std::min(p * n_loc, n);
    return M.column_range(first, first + problem.columns_of_rank(p));
  };
  rank.post(tags, op.A.data, panel);
  if (rank.index() == 0) {
    pull_lower<B, T>(rank, tags, op.A, n, M);
    B::template make_hermitian<T>(panel, M);
    B::template largest_part<T>(panel, M, work.largest);
    B::template scale_to_one<T>(panel, work.largest, 1, M);
    B::template heevd<T>(panel, M, work.w, problem.with_vectors(), work.info);
    B::template scale_from_one(panel, work.largest, 1, MatrixView<R>(work.w, n, 1, n));
    // Nobody reads them yet.
    B::template fill_nan_if<R>(panel, work.info, {work.w, n, 1, n});
    B::template fill_nan_if<T>(panel, work.info, M);
    rank.post(tags + 1, work.info, panel);
    rank.post(tags + 2, work.w, panel);
    rank.post(tags + 3, M.data, panel);
  }
  const auto pull = [&]<class S>(index_t tag, index_t first, MatrixView<S> mine) {
    const S* const theirs = rank.template take<S>(0, tag, panel) + first;
    rank.template read<S>(0, panel, {theirs, mine.rows, mine.cols, mine.rows}, mine);
  };
  pull(tags + 1, 0, MatrixView<std::int32_t>(op.info, 1, 1, 1));
  pull(tags + 2, 0, MatrixView<R>(op.w, n, 1, n));
  if (!problem.with_vectors()) return;
  const MatrixView<T> found = column_range(rank.index());
  if (rank.index() != 0) pull(tags + 3, found.data - M.data, found);
  B::template fill<T>(panel, T(0), op.V);
  if (problem.eigenvectors == Eigenvectors::columns) {
    B::template copy<T>(panel, found, op.V.block(0, 0, n, found.cols));
  } else {
    B::template conj_transpose<T>(panel, found, op.V.block(0, 0, found.cols, n));
  }
  B::template fill_nan_if<T>(panel, op.info, op.V);
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
  Arena arena(op.workspace);
  const auto work =
      SyevdWorkspace<T>::carve(arena, problem, rank.index(), rank.reads_peers_directly());
  Stages<B> stages(rank, op.listener);
  if (problem.on_one_rank) {
    stages.begin("solution on one rank");
    solve_by_rank_0<B, T>(rank, problem, op, work);
  } else {
    solve_in_two_stages<B, T>(rank, problem, op, work, stages);
  }
  stages.end();
}

}  // namespace jaxmg
