// Inverse of a distributed Hermitian positive definite matrix in one sweep over its triangle.
#pragma once

#include <array>

#include "algorithms/cholesky/factor.hpp"

namespace jaxmg {

/// Scratch of inverse_sweep(), all of it in this rank's memory. With n storage rows, n_loc columns
/// a rank and tiles of width T: 2 n T + T^2 elements, 2 n_loc T more for several ranks, T^2 more
/// where peers' data is pulled, and what the panel solve takes.
template <Scalar T>
struct SweepWork {
  PanelStorage<T> panels;  ///< order x T each: U of a step, all rows in the matrix's order
  PanelStorage<T> parts;   ///< n_loc x T each: the rows of U that this rank works out
  MatrixView<T> inverse;   ///< T x T
  MatrixView<T> lower;     ///< T x T, for the pulled diagonal tile of L
  SubstitutionWork<T> substitution;
};

/// The steps of inverse_sweep().
///
/// After step k the tiles up to k, S, are swept and the others, R, are not; the lower triangle
/// holds
///
///     [ A_SS^-1          .                          ]
///     [ A_RS A_SS^-1     A_RR - A_RS A_SS^-1 A_SR   ].
///
/// Step k factors its diagonal tile, A_kk = L L^H, and forms the panel U, n x width(k), with
///
///     U_i = A_ik L^-H  (i > k),    U_k = L^-H,    U_j = -A_kj^H L^-H  (j < k).
///
/// Then tile row and tile column k are dropped (set to zero), and all of the triangle is updated,
/// one or two products a tile column: A_ij += U_i U_j^H for j <= k, A_ij -= U_i U_j^H for j > k.
/// The signs in U make the inverse come out positive. U_k is what makes this accurate: row and
/// column k become U_j U_k^H = W_j X with the very X = L^-1 whose X^H X becomes the diagonal tile;
/// any other way (a triangular solve, an inverse of A_kk) costs orders of magnitude in the
/// residual.
///
/// U's rows beyond k come from tile column k, on one rank. Its rows before k come from tile row k,
/// to which every rank has a part: they are worked out together in `parts`, transposed, and then
/// copied to their places in `panels` on all ranks.
///
/// Look-ahead 1: U of step k + 1 needs tile column and tile row k + 1 as step k leaves them. The
/// row is updated in `parts` and the column in `panels`, and the bulk of step k leaves them alone
/// in the matrix, where step k + 1 overwrites them.
template <Backend B, Scalar T>
class InverseSweep {
 public:
  InverseSweep(Rank<B>& rank, const BlockCyclic& layout, MatrixView<T> A, const SweepWork<T>& work,
               std::int32_t* info, double* logdet)
      : rank_(rank),
        layout_(layout),
        alone_(layout.ranks() == 1),
        me_(alone_ ? 0 : rank.index()),
        A_(A),
        work_(work),
        ring_(work.panels),
        info_(info),
        logdet_(logdet),
        tags_(alone_ ? 0 : rank.reserve(tags_a_step * layout.tiles())) {}

  void run() {
    auto& panel = rank_.panel();
    if (layout_.tiles() > 0) begin();
    for (index_t k = 0; k < layout_.tiles(); ++k) {
      finish_panel(k);
      gather(k);
      rank_.bulk().wait(gathered_);
      panel.wait(gathered_);
      if (k + 1 < layout_.tiles()) look_ahead(k);
      update_bulk(k);
      ring_.release(k, {rank_.bulk().record(), looked_ahead_, Event()});
    }
    panel.wait(rank_.bulk().record());
  }

 private:
  using Event = typename B::Event;

  static constexpr index_t tags_a_step = 3;
  index_t tile_tag(index_t k) const { return tags_ + tags_a_step * k; }
  index_t part_tag(index_t k) const { return tile_tag(k) + 1; }
  index_t below_tag(index_t k) const { return tile_tag(k) + 2; }

  bool owns(index_t j) const { return layout_.owner(j) == me_; }
  /// How many of this rank's columns belong to tiles before j.
  index_t local_end(index_t j) const { return layout_.local_columns_before(me_, j); }
  MatrixView<T> column(index_t j) const { return tile_column(layout_, A_, j); }
  MatrixView<T> diagonal_tile(index_t j) const { return column(j).row_range(0, layout_.width(j)); }
  static std::size_t slot(index_t k) { return static_cast<std::size_t>(k % panel_slots); }
  /// U of step k.
  MatrixView<T> panel_of(index_t k) const {
    return work_.panels[slot(k)].block(0, 0, layout_.order(), layout_.width(k));
  }
  MatrixView<T> rows_of(index_t k, index_t j) const {
    return panel_of(k).row_range(layout_.offset(j), layout_.offset(j + 1));
  }
  MatrixView<T> rows_from(index_t k, index_t j) const {
    return panel_of(k).row_range(layout_.offset(j), layout_.order());
  }
  MatrixView<T> rows_below(index_t k) const { return rows_from(k, k + 1); }
  /// This rank's rows of U up to tile k: of one rank they are where all are.
  MatrixView<T> part_of(index_t k) const {
    const MatrixView<T> storage = alone_ ? work_.panels[slot(k)] : work_.parts[slot(k)];
    return storage.block(0, 0, local_end(k + 1), layout_.width(k));
  }

  void begin() {
    if (!owns(0)) return;
    factor_diagonal_tile(0);
    invert_diagonal_tile(0);
    B::template copy<T>(rank_.panel(), column(0).row_range(layout_.width(0), layout_.order()),
                        rows_below(0));
  }

  /// A_kk = L L^H, for all ranks.
  void factor_diagonal_tile(index_t k) {
    const MatrixView<T> L = diagonal_tile(k);
    B::template potrf<T>(rank_.panel(), L, layout_.offset(k), info_);
    if (!alone_) rank_.post(tile_tag(k), L.data, rank_.panel());
  }

  /// U_k = L^-H, off the critical path.
  void invert_diagonal_tile(index_t k) {
    auto& ahead = rank_.ahead();
    const index_t width = layout_.width(k), before = local_end(k);
    const MatrixView<T> L = diagonal_tile(k);
    ahead.wait(rank_.panel().record());
    const MatrixView<T> X = work_.inverse.block(0, 0, width, width);
    B::template invert_diagonal_blocks<T>(ahead, L, width, X);
    B::template conj_transpose<T>(ahead, X, part_of(k).row_range(before, before + width));
    B::template add_logdet<T>(ahead, L, logdet_);
  }

  /// U, from the rows of the matrix that look_ahead() has put into its place, on the ranks that
  /// have them.
  void finish_panel(index_t k) {
    auto& panel = rank_.panel();
    const index_t width = layout_.width(k), before = local_end(k);
    MatrixView<const T> L = owns(k) ? diagonal_tile(k) : MatrixView<T>();
    if (!alone_) {
      L = rank_.template pull<T>(layout_.owner(k), tile_tag(k), panel, A_.ld,
                                 work_.lower.block(0, 0, width, width));
    }
    const MatrixView<T> below = owns(k) ? rows_below(k) : MatrixView<T>();
    const SubstitutionWork<T> work = work_.substitution.for_rows(before + below.rows);
    prepare_panel_solve<B, T>(panel, L, work);
    solve(L, part_of(k).row_range(0, before), work);
    if (owns(k)) {
      solve(L, below, work);
      panel.wait(rank_.ahead().record());
    }
  }

  /// Y := Y L^-H, no more rows at a time than `work` has room for.
  void solve(MatrixView<const T> L, MatrixView<T> Y, const SubstitutionWork<T>& work) {
    const index_t chunk = tallest_chunk(layout_);
    for (index_t begin = 0; begin < Y.rows; begin += chunk) {
      const index_t end = std::min(begin + chunk, Y.rows);
      panel_solve<B, T>(rank_.panel(), L, Y.row_range(begin, end), work);
    }
  }

  /// U, whole, on all ranks.
  ///
  /// A rank posts its part of step k + 1 after it has pulled all of step k. So whoever has gathered
  /// step k + 1 knows that nobody reads its buffers of step k any more.
  void gather(index_t k) {
    if (alone_) {
      gathered_ = rank_.panel().record();
      return;
    }
    auto& copies = rank_.copies();
    rank_.post(part_tag(k), part_of(k).data, rank_.panel());
    if (owns(k)) rank_.post(below_tag(k), rows_below(k).data, rank_.panel());
    ring_.acquire(k, layout_.order(), layout_.width(k), copies);
    for (int p = 0; p < layout_.ranks(); ++p) {
      const MatrixView<const T> part(rank_.template take<T>(p, part_tag(k), copies),
                                     layout_.local_columns_before(p, k + 1), layout_.width(k),
                                     work_.parts[slot(k)].ld);
      for (index_t j = layout_.first_owned(p, 0); j <= k; j += layout_.ranks()) {
        const index_t at = layout_.local_offset(j);
        rank_.template read<T>(p, copies, part.row_range(at, at + layout_.width(j)), rows_of(k, j));
      }
    }
    if (!owns(k)) {
      const MatrixView<T> below = rows_below(k);
      const T* theirs = rank_.template take<T>(layout_.owner(k), below_tag(k), copies);
      rank_.template read<T>(layout_.owner(k), copies, {theirs, below.rows, below.cols, below.ld},
                             below);
    }
    gathered_ = copies.record();
  }

  /// Tile row and tile column k + 1 of the matrix as step k leaves them, in the place of U of step
  /// k + 1; its diagonal tile factored.
  void look_ahead(index_t k) {
    auto& panel = rank_.panel();
    const index_t next = k + 1, width = layout_.width(next);
    const MatrixView<const T> U = panel_of(k), U1 = rows_of(k, next);
    if (owns(next)) {
      panel.wait(updated_);
      B::template trapezoid_update<T>(panel, U1, diagonal_tile(next));
      factor_diagonal_tile(next);
    }
    // What has read the panel before is all of the bulk of step k - 1, so that tile row and tile
    // column k + 1 are ready as well.
    ring_.acquire(next, layout_.order(), width, panel);
    if (owns(next)) {
      invert_diagonal_tile(next);
      const MatrixView<T> C = rows_below(next);
      B::template copy<T>(panel, column(next).row_range(width, width + C.rows), C);
      B::template gemm<T>(panel, Op::none, Op::conj_trans, T(-1),
                          U.row_range(layout_.order() - C.rows, layout_.order()), U1, T(1), C);
    }
    // U_j := -(A_j + U_next U_j^H)^H, where A_j was dropped for j = k.
    const index_t kept = local_end(k), cols = local_end(next);
    const MatrixView<T> part = part_of(next).row_range(0, cols);
    B::template conj_transpose<T>(panel, A_.block(layout_.offset(next), 0, width, kept),
                                  part.row_range(0, kept));
    B::template fill<T>(panel, T(0), part.row_range(kept, cols));
    B::template gemm<T>(panel, Op::none, Op::conj_trans, T(-1), part_of(k), U1, T(-1), part);
    looked_ahead_ = panel.record();
  }

  void update_bulk(index_t k) {
    BulkTurns<B> turns(rank_);
    const int P = layout_.ranks();
    for (index_t j = layout_.first_owned(me_, k + 2); j < layout_.tiles(); j += P) {
      auto& queue = turns.next();
      B::template trapezoid_update<T>(queue, rows_from(k, j), column(j));
      if (j == k + 2) updated_ = queue.record();
    }
    if (owns(k)) {
      B::template gemm<T>(turns.next(), Op::none, Op::conj_trans, T(1), rows_from(k, k),
                          rows_of(k, k), T(0), column(k));
    }
    for (index_t j = layout_.first_owned(me_, 0); j < k; j += P) {
      update_swept_column(turns.next(), k, j);
    }
    turns.join();
  }

  /// A_ij += U_i U_j^H for i >= j, but i = k + 1, where A_kj was dropped. Step k + 1 drops tile row
  /// k + 1, and look_ahead() takes what it needs of it.
  void update_swept_column(typename B::Queue& queue, index_t k, index_t j) {
    const MatrixView<T> C = column(j);
    const index_t top = layout_.offset(j), next = layout_.offset(k + 1);
    const MatrixView<T> above = C.row_range(0, next - top);
    B::template fill<T>(queue, T(0), C.row_range(layout_.offset(k) - top, next - top));
    B::template trapezoid_update<T>(queue, panel_of(k).row_range(top, next), above, 1);
    if (k + 2 >= layout_.tiles()) return;
    const index_t below = layout_.offset(k + 2);
    B::template gemm<T>(queue, Op::none, Op::conj_trans, T(1), rows_from(k, k + 2), rows_of(k, j),
                        T(1), C.row_range(below - top, C.rows));
  }

  Rank<B>& rank_;
  const BlockCyclic& layout_;
  const bool alone_;
  const int me_;
  MatrixView<T> A_;
  const SweepWork<T>& work_;
  PanelRing<B, T> ring_;
  std::int32_t* info_;
  double* logdet_;
  index_t tags_;
  Event gathered_;      ///< U of this step, on this rank
  Event looked_ahead_;  ///< the last reads of U by the critical path
  Event updated_;       ///< tile column k + 1, by the bulk of the steps before k
};

/// A := A^-1, the lower triangle alone, from A's lower triangle (LAPACK potrf and potri with uplo =
/// 'L'): n^3 flops, times 4 for complex, as for factor and inverse one after the other.
///
/// In-place Gauss-Jordan elimination for positive definite matrices (Bientinesi, Gunter and van de
/// Geijn, ACM TOMS 35, 2008). The forward error is LAPACK's. So is the residual, unless
/// g = max ||A_RS A_SS^-1|| exceeds some 4 n, as it does for kernel matrices of sorted points;
/// inverse_of_factor() has a small residual for every matrix. g is not tracked: it would take one
/// more pass over the swept half of the matrix in every step.
///
/// `A` is this rank's storage in the cyclic layout, its ld the same on all ranks, ready for all
/// queues but rank.copies(). *info and *logdet, zero before, become this rank's, as by potrf() and
/// logdet(). With a layout of one rank nothing is sent: a rank of a larger team may then run this
/// alone. Afterwards A is ready for rank.panel().
template <Backend B, Scalar T>
void inverse_sweep(Rank<B>& rank, const BlockCyclic& layout, MatrixView<T> A,
                   const SweepWork<T>& work, std::int32_t* info, double* logdet) {
  InverseSweep<B, T>(rank, layout, A, work, info, logdet).run();
}

}  // namespace jaxmg
