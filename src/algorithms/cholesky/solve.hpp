// Solves with a distributed Cholesky factor.
#pragma once

#include <algorithm>
#include <vector>

#include "algorithms/cholesky/factor.hpp"

namespace jaxmg {

// Right-hand sides are stored as rows: B is nrhs x n, column-major, which is the memory of a
// row-major n x nrhs array. With M = L L^H in this library's reading of JAX's A (M = A^T),
// A x = b is x^T = b^T L^-H L^-1 in that memory: nothing is transposed and nothing conjugated.

/// What solves with L read besides L itself.
template <class T>
struct SolveWork {
  TileInverses<T> inverses;
  MatrixView<T> rows;  ///< nrhs x T scratch, where there are inverses
};

/// Y := Y op(L)^-1 for a diagonal tile L: by trsm, or, where that is slow, by its inverse X, if
/// that is not empty, with one refinement, which restores trsm's residual: W = Y op(X), W += (Y - W
/// op(L)) op(X). `rows`: scratch for W.
template <Backend B_, Scalar T>
void diagonal_solve(typename B_::Queue& queue, Op op, MatrixView<const T> Lkk,
                    MatrixView<const T> X, MatrixView<T> Y, MatrixView<T> rows) {
  if (X.empty()) {
    B_::template trsm<T>(queue, Side::right, op, Lkk, Y);
    return;
  }
  const MatrixView<T> W = rows.column_range(0, Y.cols);
  B_::template gemm<T>(queue, Op::none, op, T(1), Y, X, T(0), W);
  B_::template gemm<T>(queue, Op::none, op, T(-1), W, Lkk, T(1), Y);
  B_::template gemm<T>(queue, Op::none, op, T(1), Y, X, T(1), W);
  B_::template copy<T>(queue, W, Y);
}

/// U := B L^-H, tile k of the result on the rank that owns tile column k, in its columns of U.
///
/// The column-oriented substitution of Li and Coleman (1988) on tiles: y_k is subtracted at once
/// from the next P - 1 tiles, a window that travels from owner to owner and collects on its way
/// what each has subtracted before; all tiles further down are updated off the critical path.
/// n^2 nrhs flops. U: nrhs x n scratch, its ld the same on all ranks; `windows`, of the same shape,
/// takes what peers send and may be B itself. B and L must be ready for rank.panel().
template <Backend B_, Scalar T>
void forward_substitution(Rank<B_>& rank, const BlockCyclic& layout, MatrixView<const T> L,
                          const SolveWork<T>& work, MatrixView<const T> B, MatrixView<T> U,
                          MatrixView<T> windows) {
  auto& panel = rank.panel();
  auto& bulk = rank.bulk();
  const index_t n = layout.order();
  const int P = rank.size();
  const index_t tags = rank.reserve(layout.tiles());

  // Each tile of B enters the sum once, at its owner.
  B_::template fill<T>(panel, T(0), U);
  for (index_t k = layout.first_owned(rank.index(), 0); k < layout.tiles(); k += P) {
    const index_t k1 = layout.offset(k), k2 = layout.offset(k + 1);
    B_::template copy<T>(panel, B.column_range(k1, k2), U.column_range(k1, k2));
  }

  for (index_t k = layout.first_owned(rank.index(), 0); k < layout.tiles(); k += P) {
    const index_t k1 = layout.offset(k), k2 = layout.offset(k + 1);
    const index_t window = layout.offset(k + P);
    const MatrixView<const T> column = tile_column(layout, L, k);
    const MatrixView<T> Y = U.column_range(k1, k2);
    if (k > 0 && P > 1) {
      const index_t end = layout.offset(k + P - 1);
      const MatrixView<const T> arrived = rank.template pull<T>(
          layout.owner(k - 1), tags + k - 1, panel, U.ld, windows.column_range(k1, end));
      B_::template add<T>(panel, arrived, U.column_range(k1, end));
    }
    const auto subtract = [&](typename B_::Queue& queue, index_t begin, index_t end) {
      B_::template gemm<T>(queue, Op::none, Op::conj_trans, T(-1), Y,
                           column.row_range(begin - k1, end - k1), T(1),
                           U.column_range(begin, end));
    };
    diagonal_solve<B_, T>(panel, Op::conj_trans, column.row_range(0, column.cols),
                          tile_inverse(layout, work.inverses, k), Y, work.rows);
    subtract(panel, k2, window);
    rank.post(tags + k, U.data + k2 * U.ld, panel);
    bulk.wait(panel.record());
    subtract(bulk, window, n);
    panel.wait(bulk.record());
  }
}

/// X := U L^-1, on all ranks. U as forward_substitution() leaves it; its tiles are overwritten.
/// X's ld is the same on all ranks.
///
/// x_k needs the tiles of x below it: those from k + P on are subtracted off the critical path,
/// while the other ranks work on the P - 1 tiles between. n^2 nrhs flops.
template <Backend B_, Scalar T>
void backward_substitution(Rank<B_>& rank, const BlockCyclic& layout, MatrixView<const T> L,
                           const SolveWork<T>& work, MatrixView<T> U, MatrixView<T> X) {
  auto& panel = rank.panel();
  auto& bulk = rank.bulk();
  const index_t n = layout.order();
  const index_t tags = rank.reserve(layout.tiles());
  std::vector<typename B_::Event> known(static_cast<std::size_t>(layout.tiles()));

  for (index_t k = layout.tiles() - 1; k >= 0; --k) {
    const index_t k1 = layout.offset(k), k2 = layout.offset(k + 1);
    const MatrixView<T> Xk = X.column_range(k1, k2);
    if (layout.owner(k) == rank.index()) {
      const index_t far = std::min(k + rank.size(), layout.tiles());
      const index_t window = layout.offset(far);
      const MatrixView<const T> column = tile_column(layout, L, k);
      const MatrixView<T> Y = U.column_range(k1, k2);
      const auto subtract = [&](typename B_::Queue& queue, index_t begin, index_t end) {
        B_::template gemm<T>(queue, Op::none, Op::none, T(-1), X.column_range(begin, end),
                             column.row_range(begin - k1, end - k1), T(1), Y);
      };
      if (far < layout.tiles()) {
        bulk.wait(known[static_cast<std::size_t>(far)]);
        subtract(bulk, window, n);
        panel.wait(bulk.record());
      }
      subtract(panel, k2, window);
      diagonal_solve<B_, T>(panel, Op::none, column.row_range(0, column.cols),
                            tile_inverse(layout, work.inverses, k), Y, work.rows);
      B_::template copy<T>(panel, Y, Xk);
      rank.post(tags + k, Xk.data, panel);
    } else {
      const T* theirs = rank.template take<T>(layout.owner(k), tags + k, panel);
      rank.template read<T>(layout.owner(k), panel, {theirs, X.rows, k2 - k1, X.ld}, Xk);
    }
    known[static_cast<std::size_t>(k)] = panel.record();
  }
}

}  // namespace jaxmg
