// Inverse of a matrix from its distributed Cholesky factor.
#pragma once

#include <array>

#include "algorithms/cholesky/factor.hpp"

namespace jaxmg {

/// Scratch of inverse_of_factor(), all of it in this rank's memory. With n storage rows, n_loc
/// columns a rank and tiles of width T: (n_loc + 3 T) T elements, 2 n T more for several ranks, n T
/// more where the backend does not solve by trsm.
template <Scalar T>
struct FactorInverseWork {
  PanelStorage<T> panels;  ///< order x T each, for several ranks
  MatrixView<T> row;       ///< T x n_loc
  MatrixView<T> lower;     ///< T x T
  MatrixView<T> inverse;   ///< T x T
  MatrixView<T> product;   ///< T x T
  MatrixView<T> solution;  ///< order x T, where the backend does not solve by trsm
};

/// The steps of inverse_of_factor(). Its residual rests on two things. X L - I must be small, and
/// not only L X - I: so X's tile columns are made from the last to the first, as LAPACK's trtri
/// does, each from those behind it. And the product X^H X is summed in lauum's order.
template <Backend B, Scalar T>
class FactorInverse {
 public:
  FactorInverse(Rank<B>& rank, const BlockCyclic& layout, MatrixView<T> A,
                const FactorInverseWork<T>& work)
      : rank_(rank),
        layout_(layout),
        alone_(layout.ranks() == 1),
        me_(alone_ ? 0 : rank.index()),
        A_(A),
        work_(work) {}

  /// L becomes X = L^-1: tile column k is -(X22 L21) L11^-1 below X11 = L11^-1.
  ///
  /// Step k solves with L11 and then subtracts X's tile column k, times tile row k of L, from all
  /// tile columns before it, where -(X22 L21) builds up in the place of L: one product a rank. Tile
  /// column k - 1 comes first.
  void invert_factor() {
    PanelRing<B, T> ring(work_.panels);
    auto& bulk = rank_.bulk();
    typename B::Event bulk_done;
    for (index_t k = layout_.tiles() - 1; k >= 0; --k) {
      if (owns(k)) solve_column(k);
      if (k == 0) break;
      const bool pulls = !owns(k) && !rank_.reads_peers_directly();
      const Received<typename B::Event, T> X = send_column(k, pulls, ring);
      index_t cols = local_end(k);
      if (owns(k - 1)) {
        cols = local_end(k - 1);
        rank_.panel().wait(X.ready);
        rank_.panel().wait(bulk_done);
        subtract_products(rank_.panel(), k, X.view, cols, local_end(k));
      }
      bulk.wait(X.ready);
      subtract_products(bulk, k, X.view, 0, cols);
      bulk_done = bulk.record();
      if (pulls) ring.release(k, {bulk_done, rank_.panel().record(), {}});
    }
    rank_.panel().wait(bulk.record());
    if (!alone_) rank_.barrier(rank_.panel());  // nobody reads a peer's tile columns any more
    for (auto* queue : {&bulk, &rank_.copies()}) queue->wait(rank_.panel().record());
  }

  /// X becomes the lower triangle of X^H X: tile row k is X_k^H X, where X_k is X's tile column k,
  /// with zeros above its diagonal tile.
  ///
  /// Step k overwrites tile row k, so that tile column k is still whole then, from its diagonal
  /// down; all ranks pull it, and its owner goes on when they have.
  void multiply() {
    auto& bulk = rank_.bulk();
    auto& copies = rank_.copies();
    PanelRing<B, T> ring(work_.panels);
    std::array<MatrixView<const T>, panel_slots> pulled;
    std::array<typename B::Event, panel_slots> arrived;
    const index_t base_tag = alone_ ? 0 : rank_.reserve(1 + layout_.tiles());
    const index_t pulled_tag = base_tag + 1;
    if (!alone_) rank_.post(base_tag, A_.data, rank_.panel());
    const auto pull = [&](index_t k) {
      if (owns(k)) return;
      const MatrixView<T> staging =
          ring.acquire(k, layout_.order() - layout_.offset(k), layout_.width(k), copies);
      const T* theirs = rank_.template take<T>(layout_.owner(k), base_tag, copies);
      theirs += layout_.offset(k) + layout_.local_offset(k) * A_.ld;
      rank_.template read<T>(layout_.owner(k), copies, {theirs, staging.rows, staging.cols, A_.ld},
                             staging);
      rank_.post(pulled_tag + k, nullptr, copies);
      pulled[slot(k)] = staging;
      arrived[slot(k)] = copies.record();
    };

    if (layout_.tiles() > 0) pull(0);
    for (index_t k = 0; k < layout_.tiles(); ++k) {
      if (k + 1 < layout_.tiles()) pull(k + 1);
      const index_t width = layout_.width(k), cols = local_end(k + 1);
      const MatrixView<T> row = A_.block(layout_.offset(k), 0, width, cols);
      const MatrixView<T> above = work_.row.block(0, 0, width, cols);
      B::template copy<T>(bulk, row, above);
      MatrixView<const T> X = pulled[slot(k)], X11;
      if (owns(k)) {
        X = column(k);
        X11 = above.column_range(cols - width, cols);
        for (int p = 0; p < layout_.ranks(); ++p) {
          if (p != me_) rank_.wait_for(p, pulled_tag + k, bulk);
        }
      } else {
        X11 = X.row_range(0, width);
        bulk.wait(arrived[slot(k)]);
      }
      B::template gemm<T>(bulk, Op::conj_trans, Op::none, T(1), X11, above, T(0), row);
      const index_t below = layout_.offset(k + 1), rows = layout_.order() - below;
      if (rows > 0) {
        B::template gemm<T>(bulk, Op::conj_trans, Op::none, T(1), X.row_range(width, X.rows),
                            A_.block(below, 0, rows, cols), T(1), row);
      }
      if (!owns(k)) ring.release(k, {bulk.record(), {}, {}});
    }
    rank_.panel().wait(bulk.record());
  }

 private:
  static std::size_t slot(index_t k) { return static_cast<std::size_t>(k % panel_slots); }
  bool owns(index_t j) const { return layout_.owner(j) == me_; }
  index_t local_end(index_t j) const { return layout_.local_columns_before(me_, j); }
  MatrixView<T> column(index_t j) const { return tile_column(layout_, A_, j); }

  /// X's tile column k, from its diagonal tile down, for all ranks.
  Received<typename B::Event, T> send_column(index_t k, bool pulls, PanelRing<B, T>& ring) {
    if (alone_) return {column(k), rank_.panel().record()};
    MatrixView<T> mine(nullptr, layout_.order() - layout_.offset(k), layout_.width(k), A_.ld);
    if (owns(k)) mine = column(k);
    const MatrixView<T> staging =
        pulls ? ring.acquire(k, mine.rows, mine.cols, rank_.copies()) : MatrixView<T>();
    return rank_.template broadcast<T>(layout_.owner(k), rank_.panel(), mine, staging);
  }

  /// Tile column k, which is [L11; -(X22 L21)] by now, becomes X's: [X11; -(X22 L21) L11^-1].
  void solve_column(index_t k) {
    auto& panel = rank_.panel();
    const index_t width = layout_.width(k);
    const MatrixView<T> L11 = column(k).row_range(0, width);
    const MatrixView<T> C = column(k).row_range(width, column(k).rows);
    const MatrixView<T> L = work_.lower.block(0, 0, width, width);
    const MatrixView<T> X = work_.inverse.block(0, 0, width, width);
    const MatrixView<T> P = work_.product.block(0, 0, width, width);
    const auto multiply = [&](T alpha, MatrixView<const T> left, MatrixView<const T> right, T beta,
                              MatrixView<T> result) {
      B::template gemm<T>(panel, Op::none, Op::none, alpha, left, right, beta, result);
    };
    B::template copy_lower<T>(panel, L11, L);
    B::template invert_diagonal_blocks<T>(panel, L, width, X);
    if constexpr (B::panel_method == PanelMethod::trsm) {
      B::template trsm<T>(panel, Side::right, Op::none, L, C);
      B::template copy<T>(panel, X, L11);
    } else {
      // X := 2 X - (X L) X, so that X L - I is small whatever way X was made.
      multiply(T(1), X, L, T(0), P);
      B::template copy<T>(panel, X, L11);
      multiply(T(-1), P, X, T(2), L11);
      // W = C X, W += (C - W L) X
      const MatrixView<T> W = work_.solution.block(0, 0, C.rows, width);
      multiply(T(1), C, L11, T(0), W);
      multiply(T(-1), W, L, T(1), C);
      multiply(T(1), C, L11, T(1), W);
      B::template copy<T>(panel, W, C);
    }
  }

  /// Subtracts X's tile column k times tile row k of L, in this rank's columns begin .. end, from
  /// them.
  void subtract_products(typename B::Queue& queue, index_t k, MatrixView<const T> X, index_t begin,
                         index_t end) {
    const index_t width = layout_.width(k), offset = layout_.offset(k);
    const MatrixView<T> target = A_.block(offset, begin, layout_.order() - offset, end - begin);
    const MatrixView<T> row = work_.row.block(0, begin, width, end - begin);
    B::template copy<T>(queue, target.row_range(0, width), row);
    B::template fill<T>(queue, T(0), target.row_range(0, width));
    B::template gemm<T>(queue, Op::none, Op::none, T(-1), X, row, T(1), target);
  }

  Rank<B>& rank_;
  const BlockCyclic& layout_;
  const bool alone_;
  const int me_;
  MatrixView<T> A_;
  const FactorInverseWork<T>& work_;
};

/// The lower triangle of (L L^H)^-1 in the place of L: LAPACK's potri, 2 n^3 / 3 flops, times 4 for
/// complex. The residual is small for every matrix that potrf() factors.
///
/// `A` holds L in the cyclic layout, its ld the same on all ranks; it must be ready for all queues
/// but rank.copies(). With a layout of one rank nothing is sent: a rank of a larger team may then
/// run this alone. Afterwards A is ready for rank.panel().
template <Backend B, Scalar T>
void inverse_of_factor(Rank<B>& rank, const BlockCyclic& layout, MatrixView<T> A,
                       const FactorInverseWork<T>& work) {
  FactorInverse<B, T> inverse(rank, layout, A, work);
  inverse.invert_factor();
  inverse.multiply();
}

}  // namespace jaxmg
