// Cholesky factorisation of a distributed matrix.
#pragma once

#include <algorithm>
#include <utility>
#include <vector>

#include "algorithms/bulk_turns.hpp"
#include "algorithms/cholesky/panel.hpp"
#include "algorithms/panel_ring.hpp"
#include "distribution/block_cyclic.hpp"
#include "team/rank.hpp"

namespace jaxmg {

/// This rank's columns of tile column j, rows from the diagonal down: (n - offset(j)) x width(j).
template <class T>
MatrixView<T> tile_column(const BlockCyclic& layout, MatrixView<T> A, index_t j) {
  return A.block(layout.offset(j), layout.local_offset(j), layout.order() - layout.offset(j),
                 layout.width(j));
}

/// Inverses of the diagonal tiles that a rank owns, for solves by products: columns as in its part
/// of L, tile rows from row 0 on. Empty where the backend solves with L itself.
template <class T>
using TileInverses = MatrixView<T>;

/// The inverse of L's diagonal tile j.
template <class T>
MatrixView<T> tile_inverse(const BlockCyclic& layout, MatrixView<T> inverses, index_t j) {
  if (inverses.empty()) return inverses;
  return inverses.block(0, layout.local_offset(j), layout.width(j), layout.width(j));
}

/// Tiles in a chunk of a panel: few enough for an early start of what needs a chunk, and enough to
/// keep a device busy.
inline index_t chunk_tiles(const BlockCyclic& layout) {
  return std::max<index_t>(8, layout.tiles() / 8);
}

/// Rows of the tallest chunk of any panel.
inline index_t tallest_chunk(const BlockCyclic& layout) {
  if (layout.tiles() < 2) return 0;
  return std::min(chunk_tiles(layout) * layout.tile(), layout.order() - layout.width(0));
}

/// Tile rows at which the panel below diagonal tile k is cut into chunks, from k + 1 to
/// layout.tiles(): the next diagonal tile's rows first; the others end at the same rows in every
/// step, so that a chunk depends on one chunk of the step before.
inline std::vector<index_t> panel_cuts(const BlockCyclic& layout, index_t k) {
  const index_t chunk = chunk_tiles(layout);
  std::vector<index_t> cuts{k + 1, k + 2};
  while (cuts.back() < layout.tiles()) {
    cuts.push_back(std::min((cuts.back() / chunk + 1) * chunk, layout.tiles()));
  }
  return cuts;
}

/// The steps of a right-looking Cholesky factorisation with look-ahead 1; see potrf().
///
/// The critical path runs from one diagonal tile to the next. So a panel is solved, sent and
/// applied to the next tile column in chunks of rows, the next diagonal tile's first: that tile is
/// factored, and its own panel begun, while the other chunks are under way.
template <Backend B, Scalar T>
class CholeskySteps {
 public:
  CholeskySteps(Rank<B>& rank, const BlockCyclic& layout, MatrixView<T> A, PanelRing<B, T>& ring,
                const SubstitutionWork<T>& work, TileInverses<T> inverses, std::int32_t* info)
      : rank_(rank),
        layout_(layout),
        A_(A),
        ring_(ring),
        work_(work),
        inverses_(inverses),
        info_(info) {}

  void run() {
    for (index_t k = 0; k < layout_.tiles(); ++k) {
      if (owns(k)) factor_diagonal_tile(k);
      if (k + 1 < layout_.tiles()) eliminate(k);
      if (owns(k) && !inverses_.empty()) invert_diagonal_tile(k);
    }
  }

 private:
  using Event = typename B::Event;

  /// Rows of the next tile column, up to `end`, that are as the next step wants them.
  struct Chunk {
    index_t end;
    Event updated;
  };

  bool owns(index_t j) const { return layout_.owner(j) == rank_.index(); }
  MatrixView<T> column(index_t j) const { return tile_column(layout_, A_, j); }
  index_t rows_below(index_t k) const { return layout_.order() - layout_.offset(k + 1); }

  /// A11 = L11 L11^H
  void factor_diagonal_tile(index_t k) {
    auto& panel = rank_.panel();
    const MatrixView<T> A11 = column(k).row_range(0, layout_.width(k));
    B::template potrf<T>(panel, A11, layout_.offset(k), info_);
    if (!inverses_.empty()) {
      B::template copy_lower<T>(panel, A11, A11);
      factored_ = panel.record();
    }
    prepare_panel_solve<B, T>(panel, A11, work_.for_rows(rows_below(k)));
  }

  /// Off the critical path, and given to the device after what is on it: X11 = L11^-1
  void invert_diagonal_tile(index_t k) {
    auto& copies = rank_.copies();
    copies.wait(factored_);
    B::template invert_diagonal_blocks<T>(copies, column(k).row_range(0, layout_.width(k)),
                                          layout_.width(k), tile_inverse(layout_, inverses_, k));
  }

  /// L21 = A21 L11^-H,  A22 -= L21 L21^H
  void eliminate(index_t k) {
    const index_t width = layout_.width(k), top = layout_.offset(k + 1);
    const index_t below = rows_below(k);
    const bool pulls = !owns(k) && !rank_.reads_peers_directly();
    const MatrixView<T> staging =
        pulls ? ring_.acquire(k, below, width, rank_.copies()) : MatrixView<T>();
    const std::vector<index_t> cuts = panel_cuts(layout_, k);
    MatrixView<const T> L21;
    std::vector<Chunk> next_column;
    for (std::size_t c = 0; c + 1 < cuts.size(); ++c) {
      const index_t begin = layout_.offset(cuts[c]), end = layout_.offset(cuts[c + 1]);
      MatrixView<T> chunk(nullptr, end - begin, width, A_.ld);
      if (owns(k)) {
        chunk = column(k).row_range(begin - layout_.offset(k), end - layout_.offset(k));
        solve_chunk(k, chunk, end);
      }
      const auto arrived =
          rank_.template broadcast<T>(layout_.owner(k), rank_.panel(), chunk,
                                      pulls ? staging.row_range(begin - top, end - top) : staging);
      if (begin == top) L21 = {arrived.view.data, below, width, arrived.view.ld};
      if (cuts[c + 1] == layout_.tiles()) rank_.bulk().wait(arrived.ready);
      if (owns(k + 1)) {
        next_column.push_back({end, update_next_column(k, L21, begin, end, arrived.ready)});
      }
    }
    column_ = std::move(next_column);
    update_other_columns(k, L21);
    if (pulls) {
      ring_.release(k, {rank_.bulk().record(), rank_.panel().record(), rank_.ahead().record()});
    }
  }

  /// A21 := A21 L11^-H in a chunk of rows that reaches down to `end`.
  void solve_chunk(index_t k, MatrixView<T> chunk, index_t end) {
    const auto covers = [end](const Chunk& updated) { return updated.end >= end; };
    const auto updated = std::find_if(column_.begin(), column_.end(), covers);
    if (updated != column_.end()) rank_.panel().wait(updated->updated);
    const MatrixView<T> A11 = column(k).row_range(0, layout_.width(k));
    panel_solve<B, T>(rank_.panel(), A11, chunk, work_.for_rows(rows_below(k)));
  }

  /// Rows begin .. end of tile column k + 1, as soon as those of L21 are here.
  Event update_next_column(index_t k, MatrixView<const T> L21, index_t begin, index_t end,
                           const Event& arrived) {
    const index_t top = layout_.offset(k + 1);
    const MatrixView<const T> W = L21.row_range(begin - top, end - top);
    const MatrixView<T> C = column(k + 1).row_range(begin - top, end - top);
    auto& queue = begin == top ? rank_.panel() : rank_.ahead();
    queue.wait(updated_);
    queue.wait(arrived);
    if (begin == top) {
      B::template trapezoid_update<T>(queue, W, C);
    } else {
      const MatrixView<const T> W1 = L21.row_range(0, C.cols);
      B::template gemm<T>(queue, Op::none, Op::conj_trans, T(-1), W, W1, T(1), C);
    }
    return queue.record();
  }

  void update_other_columns(index_t k, MatrixView<const T> L21) {
    BulkTurns<B> turns(rank_);
    for (index_t j = layout_.first_owned(rank_.index(), k + 2); j < layout_.tiles();
         j += rank_.size()) {
      const index_t skip = layout_.offset(j) - layout_.offset(k + 1);
      auto& queue = turns.next();
      B::template trapezoid_update<T>(queue, L21.row_range(skip, L21.rows), column(j));
      if (j == k + 2) updated_ = queue.record();
    }
    turns.join();
  }

  Rank<B>& rank_;
  const BlockCyclic& layout_;
  MatrixView<T> A_;
  PanelRing<B, T>& ring_;
  const SubstitutionWork<T>& work_;
  TileInverses<T> inverses_;
  std::int32_t* info_;
  Event factored_;             ///< the diagonal tile of this rank's last step
  std::vector<Chunk> column_;  ///< of the tile column that this rank solves next
  Event updated_;              ///< the same tile column by the bulk of the steps before
};

/// A = L L^H, L in the place of A's lower triangle (LAPACK potrf with uplo = 'L').
///
/// Right-looking with look-ahead 1: n^3 / 3 flops (times 4 for complex), one trapezoid update a
/// local tile column and step. `A` is this rank's storage in the cyclic layout, its ld the same on
/// all ranks; it must be ready for all queues but rank.copies(). *info, zero before, becomes the
/// order of the first minor that is not positive definite among the tiles that this rank owns.
/// If `inverses` is not empty it is filled on rank.copies(), off the critical path, and the
/// diagonal tiles of L get zeros above their diagonal. Afterwards A is ready for rank.panel().
template <Backend B, Scalar T>
void potrf(Rank<B>& rank, const BlockCyclic& layout, MatrixView<T> A, PanelRing<B, T>& ring,
           const SubstitutionWork<T>& work, TileInverses<T> inverses, std::int32_t* info) {
  CholeskySteps<B, T>(rank, layout, A, ring, work, inverses, info).run();
}

/// *sum := this rank's share of log det(L L^H) = 2 sum_i log Re L_ii.
template <Backend B, Scalar T>
void logdet(Rank<B>& rank, const BlockCyclic& layout, MatrixView<const T> L, double* sum) {
  for (index_t k = layout.first_owned(rank.index(), 0); k < layout.tiles(); k += rank.size()) {
    const MatrixView<const T> column = tile_column(layout, L, k);
    B::template add_logdet<T>(rank.panel(), column.row_range(0, column.cols), sum);
  }
}

}  // namespace jaxmg
