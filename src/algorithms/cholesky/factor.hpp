// Cholesky factorisation of a distributed matrix.
#pragma once

#include <array>

#include "algorithms/cholesky/panel.hpp"
#include "distribution/block_cyclic.hpp"
#include "team/rank.hpp"

namespace jaxmg {

/// Two panels that peers' data is pulled into, used in turn.
template <Backend B, Scalar T>
class PanelRing {
 public:
  static constexpr int slots = 2;
  using Event = typename B::Event;

  explicit PanelRing(std::array<MatrixView<T>, slots> storage) : storage_(storage) {}

  /// Storage for panel k, of this shape. `writer` waits for those who read what is there now.
  MatrixView<T> acquire(index_t k, index_t rows, index_t cols, typename B::Queue& writer) {
    const auto slot = static_cast<std::size_t>(k % slots);
    for (const Event& reader : readers_[slot]) writer.wait(reader);
    return storage_[slot].block(0, 0, rows, cols);
  }
  /// Panel k is free once these have happened.
  void release(index_t k, const Event& one, const Event& other) {
    readers_[static_cast<std::size_t>(k % slots)] = {one, other};
  }

 private:
  std::array<MatrixView<T>, slots> storage_;
  std::array<std::array<Event, 2>, slots> readers_;
};

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
MatrixView<T> tile_inverse(const BlockCyclic& layout, TileInverses<T> inverses, index_t j) {
  if (inverses.empty()) return inverses;
  return inverses.block(0, layout.local_offset(j), layout.width(j), layout.width(j));
}

/// A = L L^H, L in the place of A's lower triangle (LAPACK potrf with uplo = 'L').
///
/// Right-looking with look-ahead 1: n^3 / 3 flops (times 4 for complex), one trapezoid update a
/// local tile column and step. `A` is this rank's storage in the cyclic layout, its ld the same on
/// all ranks; it must be ready for rank.panel() and rank.bulk(). *info, zero before, becomes the
/// order of the first minor that is not positive definite among the tiles that this rank owns.
/// If `inverses` is not empty it is filled on rank.copies(), off the critical path, and the
/// diagonal tiles of L get zeros above their diagonal.
template <Backend B, Scalar T>
void potrf(Rank<B>& rank, const BlockCyclic& layout, MatrixView<T> A, PanelRing<B, T>& ring,
           const SubstitutionWork<T>& work, TileInverses<T> inverses, std::int32_t* info) {
  auto& panel = rank.panel();
  auto& bulk = rank.bulk();
  typename B::Event updated;  // the bulk of all steps so far

  for (index_t k = 0; k < layout.tiles(); ++k) {
    const index_t width = layout.width(k), below = layout.order() - layout.offset(k + 1);
    MatrixView<T> A21(nullptr, below, width, A.ld);

    // A11 = L11 L11^H,  L21 = A21 L11^-H
    if (layout.owner(k) == rank.index()) {
      const MatrixView<T> column = tile_column(layout, A, k);
      const MatrixView<T> A11 = column.row_range(0, width);
      A21 = column.row_range(width, column.rows);
      B::template potrf<T>(panel, A11, layout.offset(k), info);
      panel_solve<B, T>(panel, A11, A21, work);
      if (!inverses.empty()) {
        B::template copy_lower<T>(panel, A11, A11);
        rank.copies().wait(panel.record());
        B::template invert_diagonal_blocks<T>(rank.copies(), A11, width,
                                              tile_inverse(layout, inverses, k));
      }
    }
    if (below == 0) break;

    const bool pulls = layout.owner(k) != rank.index() && !rank.reads_peers_directly();
    const MatrixView<T> staging =
        pulls ? ring.acquire(k, below, width, rank.copies()) : MatrixView<T>();
    const auto L21 = rank.template broadcast<T>(layout.owner(k), panel, A21, staging);

    // A22 -= L21 L21^H, the next tile column first
    bulk.wait(L21.ready);
    for (index_t j = layout.first_owned(rank.index(), k + 1); j < layout.tiles();
         j += rank.size()) {
      const bool next = j == k + 1;
      if (next) {
        panel.wait(updated);
        panel.wait(L21.ready);
      }
      const index_t skip = layout.offset(j) - layout.offset(k + 1);
      B::template trapezoid_update<T>(next ? panel : bulk, L21.view.row_range(skip, below),
                                      tile_column(layout, A, j));
    }
    updated = bulk.record();
    if (pulls) ring.release(k, updated, panel.record());
  }
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
