// The rank programs behind potrf and potrs, for every front end.
#pragma once

#include "algorithms/cholesky/solve.hpp"
#include "api/working_matrix.hpp"

namespace jaxmg {

/// The traits of a rank's backend.
template <Backend B>
BackendTraits traits_of(const Rank<B>& rank) {
  return {B::panel_method, rank.reads_peers_directly()};
}

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

/// No failure and no share of log det A yet, for what rank.panel() does next.
template <Backend B>
void clear_outcome(Rank<B>& rank, const CholeskyScalars& scalars) {
  B::template fill<std::int32_t>(rank.panel(), 0, {scalars.info, 1, 1, 1});
  B::template fill<double>(rank.panel(), 0, {scalars.share, 1, 1, 1});
}

/// A = L L^H of the working matrix. Each rank's info and share of log det A stay in `scalars`, to
/// be agreed on by agree_on_outcome().
template <Backend B, Scalar T>
void factor_matrix(Rank<B>& rank, const CholeskyProblem& problem, MatrixView<T> M,
                   const CholeskyWorkspace<T>& work) {
  const BlockCyclic layout = problem.layout();
  clear_outcome<B>(rank, work.scalars);
  PanelRing<B, T> ring(work.panels);
  potrf<B, T>(rank, layout, M, ring, work.substitution, work.solve.inverses, work.scalars.info);
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

/// As agree_on_outcome(), where rank 0 alone has factored.
template <Backend B, Scalar T>
void take_outcome_of_rank_0(Rank<B>& rank, const CholeskyScalars& scalars, std::int32_t* info,
                            real_t<T>* logdet) {
  auto& panel = rank.panel();
  const index_t info_tag = rank.reserve(2), share_tag = info_tag + 1;
  if (rank.index() == 0) {
    rank.post(info_tag, scalars.info, panel);
    rank.post(share_tag, scalars.share, panel);
  }
  const auto take = [&]<class S>(index_t tag, S* result) {
    const MatrixView<const S> theirs(rank.template take<S>(0, tag, panel), 1, 1, 1);
    rank.template read<S>(0, panel, theirs, {result, 1, 1, 1});
  };
  take(info_tag, info);
  if (logdet == nullptr) return;
  take(share_tag, scalars.logdet);
  B::round_to(panel, scalars.logdet, logdet);
  B::template fill_nan_if<real_t<T>>(panel, info, {logdet, 1, 1, 1});
}

/// Rank 0 pulls the lower triangle, unless it is its own to write to, and solves alone; the others
/// pull x. For sizes where a step of the distributed algorithm costs more than its work, and for
/// a lone GPU.
template <Backend B, Scalar T>
void solve_on_one_rank(Rank<B>& rank, const CholeskyProblem& problem, const PotrsOperands<T>& op,
                       const CholeskyWorkspace<T>& work) {
  auto& panel = rank.panel();
  const index_t n = problem.order;
  const index_t a_tag = rank.reserve(2), x_tag = a_tag + 1;
  const MatrixView<T> X = op.X.column_range(0, n);
  rank.post(a_tag, op.A.data, panel);
  clear_outcome<B>(rank, work.scalars);
  if (rank.index() == 0) {
    const bool in_place = problem.in_place_on_one_rank();
    const MatrixView<T> M = (in_place ? op.A : work.matrix).block(0, 0, n, n);
    if (!in_place) pull_lower<B, T>(rank, a_tag, op.A, n, M);
    B::template potrf<T>(panel, M, 0, work.scalars.info);
    B::template add_logdet<T>(panel, M, work.scalars.share);
    B::template copy<T>(panel, op.B.column_range(0, n), X);
    B::template trsm<T>(panel, Side::right, Op::conj_trans, M, X);
    B::template trsm<T>(panel, Side::right, Op::none, M, X);
    B::template fill_nan_if<T>(panel, work.scalars.info, X);  // nobody reads it yet
    rank.post(x_tag, X.data, panel);
  } else {
    const MatrixView<const T> solved(rank.template take<T>(0, x_tag, panel), X.rows, X.cols, X.ld);
    rank.template read<T>(0, panel, solved, X);
  }
  take_outcome_of_rank_0<B, T>(rank, work.scalars, op.info, op.logdet);
}

/// x with A x = b, from A as JAX holds it. n^3 / 3 + 2 n^2 rhs flops (times 4 for complex).
template <Backend B, Scalar T>
void potrs_program(Rank<B>& rank, const CholeskyProblem& problem, const PotrsOperands<T>& op) {
  Arena arena(op.workspace);
  const auto work = CholeskyWorkspace<T>::carve(arena, problem, traits_of(rank));
  const BlockCyclic layout = problem.layout();
  auto& panel = rank.panel();

  if (problem.on_one_rank) {
    solve_on_one_rank<B, T>(rank, problem, op, work);
  } else {
    const MatrixView<T> M = distribute<B, T>(rank, problem, op.A, {work.matrix, work.staging});
    factor_matrix<B, T>(rank, problem, M, work);
    panel.wait(rank.copies().record());  // the inverses of the tiles
    forward_substitution<B, T>(rank, layout, M, work.solve, op.B, work.U, op.X);
    backward_substitution<B, T>(rank, layout, M, work.solve, work.U, op.X);
    agree_on_outcome<B, T>(rank, work.scalars, op.info, op.logdet);
    B::template fill_nan_if<T>(panel, op.info, op.X.column_range(0, problem.order));
  }
  const MatrixView<T> padding = op.X.column_range(problem.order, op.X.cols);
  B::template fill<T>(panel, T(0), padding);
  B::template fill_nan_if<T>(panel, op.info, padding);
}

}  // namespace jaxmg
