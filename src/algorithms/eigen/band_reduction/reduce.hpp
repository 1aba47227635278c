// Reduction of a distributed Hermitian matrix to band form.
#pragma once

#include <array>

#include "algorithms/eigen/band_reduction/panel_qr.hpp"
#include "distribution/band_panels.hpp"
#include "team/rank.hpp"

namespace jaxmg {

/// Scratch of band_reduction(), all of it in this rank's memory. With bandwidth b and K columns of
/// reflectors in an update: 2 K (n + n_loc) + b (n + 3 n_loc) + 2 K b + 3 b^2 elements, and
/// b n + 5 b^2 of wide_t<T>.
template <Scalar T>
struct BandReductionWork {
  MatrixView<T> U;                     ///< n x 2K
  MatrixView<T> V;                     ///< n_loc x 2K
  MatrixView<T> Z;                     ///< n x b
  std::array<MatrixView<T>, 2> parts;  ///< n_loc x b each: the rows of Z that this rank works out
  MatrixView<T> peers_part;            ///< n_loc x b: those of a peer
  MatrixView<T> G;                     ///< 2K x b
  MatrixView<T> small;                 ///< b x 3b
  PanelQrWork<T> qr;
};

/// What band_reduction() leaves beside the reflectors, which it leaves in the matrix.
template <Scalar T>
struct BandForm {
  MatrixView<T> band;     ///< (b + 1) x n on every rank: band(i - j, j) = B(i, j), i >= j
  MatrixView<T> factors;  ///< b x n_loc: the factor of a panel of this rank, in its columns
};

/// A panel's factor T, width x width, where the panel's owner keeps it.
template <class T>
MatrixView<T> panel_factor(const BlockCyclic& layout, MatrixView<T> factors,
                           const BandPanel& panel) {
  const index_t first = local_end(layout, layout.owner(panel.tile), panel) - panel.width;
  return factors.block(0, first, panel.width, panel.width);
}

/// A panel's reflectors, as its owner keeps them: R on the diagonal and above.
template <class T>
MatrixView<T> panel_reflectors(const BlockCyclic& layout, MatrixView<T> A, const BandPanel& panel) {
  const index_t first = local_end(layout, layout.owner(panel.tile), panel) - panel.width;
  return A.block(panel.first_row, first, layout.order() - panel.first_row, panel.width);
}

/// The steps of band_reduction().
///
/// With a panel's block reflector Q = I - Y T Y^H,
///
///     Q^H A Q = A - Y W^H - W Y^H,   Z = A Y,   W = Z T - 1/2 Y T^H (Y^H Z) T.
///
/// These updates are kept back until K columns of reflectors have come together: the matrix that
/// is meant is A - U V^H with U = [Y1 W1 Y2 W2 ..] and V = [W1 Y1 W2 Y2 ..]. Every rank has all
/// rows of U, and the rows of V that belong to its own columns. So each step is one product:
///
///     the next panel's columns      A(:, J) -= U V(J, :)^H
///     this rank's rows of Z         Z(J, :)  = A(:, J)^H Y - V(J, :) (U^H Y)
///     K columns kept back           A(:, J) -= U V(J, :)^H   for all trailing J
///
/// The second is where both triangles are read: columns of A are rows of A, conjugated. Rows and
/// columns before the panel's end are done with; between there and the panel's first row of
/// reflectors Y is zero, so that W alone carries the one-sided update of the columns in between.
///
/// Queues: products with the matrix on bulk(), all else on panel(), in order. So a panel is updated
/// and factored while the bulk still updates the other columns.
template <BandReductionBackend B, Scalar T>
class BandReductionSteps {
 public:
  BandReductionSteps(Rank<B>& rank, const BlockCyclic& layout, MatrixView<T> A,
                     const BandForm<T>& form, const BandReductionWork<T>& work)
      : rank_(rank),
        layout_(layout),
        A_(A),
        form_(form),
        work_(work),
        bandwidth_(form.band.rows - 1),
        panels_(band_panels(layout, bandwidth_)),
        tags_(rank.reserve(tags_a_panel * static_cast<index_t>(panels_.size()) + 1)) {}

  void run() {
    for (std::size_t k = 0; k < panels_.size(); ++k) {
      const BandPanel& panel = panels_[k];
      if (owns(panel)) update_panel(panel);
      if (pending_ + 2 * panel.width > work_.U.cols) update_trailing(panel);
      if (owns(panel)) factor(k);
      receive(k);
      multiply(k);
      append(k);
    }
    if (!panels_.empty()) update_trailing(panels_.back());
    rank_.panel().wait(rank_.bulk().record());
    gather_band();
  }

 private:
  using Event = typename B::Event;

  static constexpr index_t tags_a_panel = 3;
  index_t tag(std::size_t k) const { return tags_ + tags_a_panel * static_cast<index_t>(k); }

  bool owns(const BandPanel& panel) const { return layout_.owner(panel.tile) == rank_.index(); }
  index_t order() const { return layout_.order(); }
  /// This rank's columns below the matrix's order.
  index_t local_order() const {
    return layout_.local_columns_before(rank_.index(), layout_.tiles());
  }
  MatrixView<T> U() const { return work_.U.column_range(0, pending_); }
  MatrixView<T> V() const { return work_.V.column_range(0, pending_); }
  /// `width` columns of U, V or Z from column `at` on, in these rows.
  static MatrixView<T> slot(MatrixView<T> blocks, index_t at, index_t width, IndexRange rows) {
    return blocks.block(rows.begin, at, rows.end - rows.begin, width);
  }
  /// The k-th of three small square matrices.
  MatrixView<T> small(index_t k, index_t width) const {
    return work_.small.block(0, k * bandwidth_, width, width);
  }
  MatrixView<T> Y(const BandPanel& panel) const {
    return slot(work_.U, pending_, panel.width, {panel.first_row, order()});
  }
  MatrixView<T> panel_T(const BandPanel& panel) const { return small(0, panel.width); }
  /// The rows of Z that this rank works out: those of its trailing columns.
  MatrixView<T> part(std::size_t k) const {
    const index_t done = local_end(layout_, rank_.index(), panels_[k]);
    return work_.parts[k % 2].block(done, 0, local_order() - done, panels_[k].width);
  }

  /// A(:, J) -= U V(J, :)^H for local columns J, rows from `first` on.
  void apply_pending(typename B::Queue& queue, index_t first, IndexRange columns) {
    B::template gemm<T>(
        queue, Op::none, Op::conj_trans, T(-1), U().row_range(first, order()),
        V().row_range(columns.begin, columns.end), T(1),
        A_.block(first, columns.begin, order() - first, columns.end - columns.begin));
  }

  /// The panel's own columns, ahead of all others.
  void update_panel(const BandPanel& panel) {
    const index_t end = local_end(layout_, rank_.index(), panel);
    apply_pending(rank_.panel(), panel.column, {end - panel.width, end});
  }

  /// All columns after this panel; nothing is kept back any more. U and V are free again once
  /// updated_ has happened.
  void update_trailing(const BandPanel& panel) {
    auto& bulk = rank_.bulk();
    bulk.wait(rank_.panel().record());
    apply_pending(bulk, panel.end(), {local_end(layout_, rank_.index(), panel), local_order()});
    updated_ = bulk.record();
    pending_ = 0;
  }

  /// The panel's QR, for all ranks.
  void factor(std::size_t k) {
    const BandPanel& panel = panels_[k];
    const MatrixView<T> Y = panel_reflectors(layout_, A_, panel);
    const MatrixView<T> factor = panel_factor(layout_, form_.factors, panel);
    panel_qr<B, T>(rank_.panel(), Y, factor, work_.qr);
    rank_.post(tag(k), Y.data, rank_.panel());
    rank_.post(tag(k) + 1, factor.data, rank_.panel());
  }

  /// Y and T on all ranks. What is posted is never written again, so nobody waits for its readers.
  void receive(std::size_t k) {
    const BandPanel& panel = panels_[k];
    auto& queue = rank_.panel();
    queue.wait(updated_);
    const int owner = layout_.owner(panel.tile);
    const MatrixView<T> Y = this->Y(panel), factor = panel_T(panel);
    const T* const theirs = rank_.template take<T>(owner, tag(k), queue);
    rank_.template read<T>(owner, queue, {theirs, Y.rows, Y.cols, A_.ld}, Y);
    B::template unit_lower<T>(queue, Y);
    B::template fill<T>(queue, T(0),
                        slot(work_.U, pending_, panel.width, {panel.end(), panel.first_row}));
    const T* const their_factor = rank_.template take<T>(owner, tag(k) + 1, queue);
    rank_.template read<T>(owner, queue, {their_factor, panel.width, panel.width, form_.factors.ld},
                           factor);
  }

  /// Z = (A - U V^H) Y: each rank the rows that its columns give, then all rows on all ranks.
  void multiply(std::size_t k) {
    const BandPanel& panel = panels_[k];
    auto &queue = rank_.panel(), &bulk = rank_.bulk();
    const MatrixView<T> Y = this->Y(panel), Z_loc = part(k);
    const IndexRange mine{local_order() - Z_loc.rows, local_order()};
    bulk.wait(queue.record());
    B::template gemm<T>(bulk, Op::conj_trans, Op::none, T(1),
                        A_.block(panel.first_row, mine.begin, Y.rows, Z_loc.rows), Y, T(0), Z_loc);
    const MatrixView<T> G = work_.G.block(0, 0, pending_, panel.width);
    B::template gemm<T>(queue, Op::conj_trans, Op::none, T(1),
                        U().row_range(panel.first_row, order()), Y, T(0), G);
    queue.wait(bulk.record());
    B::template gemm<T>(queue, Op::none, Op::none, T(-1), V().row_range(mine.begin, mine.end), G,
                        T(1), Z_loc);
    gather(k);
  }

  /// A rank posts its part of panel k + 1 after it has read all of panel k. So whoever has gathered
  /// panel k + 1 knows that nobody reads its part of panel k any more.
  void gather(std::size_t k) {
    const BandPanel& panel = panels_[k];
    auto& queue = rank_.panel();
    const MatrixView<T> storage = work_.parts[k % 2];
    rank_.post(tag(k) + 2, storage.data, queue);
    for (int p = 0; p < rank_.size(); ++p) {
      const TrailingColumns its = trailing_columns(layout_, p, panel);
      const T* const theirs = rank_.template take<T>(p, tag(k) + 2, queue);
      MatrixView<const T> Z_of_p(theirs + its.local_begin, its.count, panel.width, storage.ld);
      if (p != rank_.index() && !rank_.reads_peers_directly()) {
        const MatrixView<T> pulled = work_.peers_part.block(0, 0, its.count, panel.width);
        rank_.template read<T>(p, queue, Z_of_p, pulled);
        Z_of_p = pulled;
      }
      if (its.count == 0) continue;
      B::template spread_rows<T>(queue, Z_of_p, its.places,
                                 slot(work_.Z, 0, panel.width, {its.begin, order()}));
    }
  }

  /// W, and the two blocks at the end of U and V.
  void append(std::size_t k) {
    const BandPanel& panel = panels_[k];
    auto& queue = rank_.panel();
    const index_t w = panel.width;
    const MatrixView<T> Y = this->Y(panel), factor = panel_T(panel);
    const MatrixView<T> Z = slot(work_.Z, 0, w, {panel.end(), order()});
    const MatrixView<T> W = slot(work_.U, pending_ + w, w, {panel.end(), order()});
    const index_t gap = panel.first_row - panel.end();
    const MatrixView<T> YZ = small(1, w), YZT = small(2, w), S = small(1, w);
    const auto product = [&](Op op, T alpha, MatrixView<const T> left, MatrixView<const T> right,
                             T beta, MatrixView<T> result) {
      B::template gemm<T>(queue, op, Op::none, alpha, left, right, beta, result);
    };
    product(Op::conj_trans, T(1), Y, Z.row_range(gap, Z.rows), T(0), YZ);
    product(Op::none, T(1), YZ, factor, T(0), YZT);
    product(Op::conj_trans, T(real_t<T>(-0.5)), factor, YZT, T(0), S);
    product(Op::none, T(1), Z, factor, T(0), W);
    product(Op::none, T(1), Y, S, T(1), W.row_range(gap, W.rows));
    const TrailingColumns own = trailing_columns(layout_, rank_.index(), panel);
    const auto collect = [&](index_t from, index_t to) {
      if (own.count == 0) return;
      B::template collect_rows<T>(
          queue, slot(work_.U, from, w, {own.begin, order()}), own.places,
          slot(work_.V, to, w, {own.local_begin, own.local_begin + own.count}));
    };
    collect(pending_ + w, pending_);
    collect(pending_, pending_ + w);
    pending_ += 2 * w;
  }

  /// The band, whole, on all ranks.
  void gather_band() {
    auto& queue = rank_.panel();
    const index_t tag = tags_ + tags_a_panel * static_cast<index_t>(panels_.size());
    const auto columns_of = [&](const T* band, index_t j) {
      return MatrixView<const T>(band + layout_.offset(j) * form_.band.ld, form_.band.rows,
                                 layout_.width(j), form_.band.ld);
    };
    const auto mine = [&](index_t j) {
      return form_.band.column_range(layout_.offset(j), layout_.offset(j + 1));
    };
    for (index_t j = layout_.first_owned(rank_.index(), 0); j < layout_.tiles();
         j += rank_.size()) {
      const MatrixView<T> column = A_.block(layout_.offset(j), layout_.local_offset(j),
                                            order() - layout_.offset(j), layout_.width(j));
      B::template copy_band<T>(queue, column, mine(j));
    }
    rank_.post(tag, form_.band.data, queue);
    for (index_t j = 0; j < layout_.tiles(); ++j) {
      if (layout_.owner(j) == rank_.index()) continue;
      const T* const theirs = rank_.template take<T>(layout_.owner(j), tag, queue);
      rank_.template read<T>(layout_.owner(j), queue, columns_of(theirs, j), mine(j));
    }
  }

  Rank<B>& rank_;
  const BlockCyclic& layout_;
  MatrixView<T> A_;
  const BandForm<T>& form_;
  const BandReductionWork<T>& work_;
  index_t bandwidth_;
  std::vector<BandPanel> panels_;
  index_t tags_;
  index_t pending_ = 0;  ///< columns of U and V that the matrix has not seen
  Event updated_;        ///< the bulk's last use of U and V
};

/// A = Q1 B Q1^H with a Hermitian band matrix B of `form.band.rows` - 1 subdiagonals and unitary
/// Q1; A is Hermitian with *both* triangles stored.
///
/// Successive band reduction with block reflectors (Bischof, Lang and Sun, ACM TOMS 26, 2000),
/// updates aggregated to `work.U.cols` / 2 = K columns of reflectors (double blocking). On return
/// A's columns hold, from the diagonal down, the band and below it the reflectors Y of
/// Q1 = H1 H2 .. Hm, Hi = I - Yi Ti Yi^H, whose factors Ti are in `form.factors`: what
/// apply_band_reduction() reads. Above the diagonal A is garbage.
///
/// Flops (times 4 for complex) and bytes of a rank, with P ranks and s = sizeof(T), and what bounds
/// them on a GPU:
///
///     trailing updates  4/3 n^3 / P      products of inner size 2K: compute
///     Z = A Y           2/3 n^3 / P      s n^3 / (3 b P) bytes of A: memory up to b = 64 or so
///     corrections of Z  n^2 K (1 + 1/P)  U^H Y on every rank, V (U^H Y) spread: compute
///     next panels       n^2 K            on their owners, all others wait: compute
///     panel QR          7/2 n^2 b        likewise; panel_qr()
///     W                 3 n^2 b          on every rank: launches of small kernels
///     messages          s n^2 bytes      to every rank, half of them Y and half Z: latency, two
///                                        hand-overs a panel
///
/// Both triangles are updated. One alone, mirrored every K columns, would be 2/3 n^3 / P flops less
/// and s n^3 / (6 K P) bytes of messages more.
///
/// Only a panel's owner waits for the device, for the number that chooses how its QR goes on; the
/// others need not know it, since Y and T look the same either way. Nothing can fail: NaN or Inf in
/// A makes NaN in B, in the same number of operations. B's diagonal is real.
///
/// `A` is this rank's storage in the cyclic layout, its ld the same on all ranks, as `band`'s and
/// `factors`'; ready for panel() and bulk(). K >= b. Afterwards all is ready for panel(). The
/// reflectors and factors are read by peers until they have met this rank again.
template <BandReductionBackend B, Scalar T>
void band_reduction(Rank<B>& rank, const BlockCyclic& layout, MatrixView<T> A,
                    const BandForm<T>& form, const BandReductionWork<T>& work) {
  BandReductionSteps<B, T>(rank, layout, A, form, work).run();
}

}  // namespace jaxmg
