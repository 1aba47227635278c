// The upper triangle of a distributed Hermitian matrix from its lower one.
#pragma once

#include "algorithms/cholesky/factor.hpp"

namespace jaxmg {

/// Fills A's strict upper triangle, A_ij = conj(A_ji), and makes its diagonal real.
///
/// `A` is this rank's storage in the cyclic layout, its ld the same on all ranks, ready for
/// rank.panel(). Each rank reads the parts of its tile rows that peers hold, n^2 / 2 P elements,
/// through `staging` (each slot at least order x tile) where it does not read them directly.
/// Afterwards A is ready for rank.panel() and rank.copies(); peers may read its lower triangle
/// until they have done the same.
template <Backend B, Scalar T>
void mirror(Rank<B>& rank, const BlockCyclic& layout, MatrixView<T> A,
            const PanelStorage<T>& staging) {
  const bool alone = layout.ranks() == 1;
  const int me = alone ? 0 : rank.index();
  auto& panel = rank.panel();
  auto& copies = rank.copies();
  const index_t tag = alone ? 0 : rank.reserve(1);
  if (!alone) rank.post(tag, A.data, panel);
  copies.wait(panel.record());  // whoever has read the staging before
  PanelRing<B, T> ring(staging);
  index_t turn = 0;

  for (index_t j = layout.first_owned(me, 0); j < layout.tiles(); j += layout.ranks()) {
    const MatrixView<T> upper =
        A.block(0, layout.local_offset(j), layout.offset(j), layout.width(j));
    B::template make_hermitian<T>(panel, tile_column(layout, A, j).row_range(0, upper.cols));
    if (alone) {
      B::template conj_transpose<T>(panel, A.block(upper.rows, 0, upper.cols, upper.rows), upper);
      continue;
    }
    for (int p = 0; p < layout.ranks(); ++p) {
      const index_t cols = layout.local_columns_before(p, j);
      if (cols == 0) continue;
      MatrixView<const T> row(A.data + upper.rows, upper.cols, cols, A.ld);
      const bool pulls = p != me && !rank.reads_peers_directly();
      if (p != me) {
        row.data = rank.template take<T>(p, tag, pulls ? copies : panel) + upper.rows;
      }
      if (pulls) {
        MatrixView<T> pulled = ring.acquire(turn, layout.order(), layout.tile(), copies);
        pulled = {pulled.data, upper.cols, cols, upper.cols};
        rank.template read<T>(p, copies, row, pulled);
        panel.wait(copies.record());
        row = pulled;
      }
      for (index_t i = layout.first_owned(p, 0); i < j; i += layout.ranks()) {
        const index_t at = layout.local_offset(i), width = layout.width(i);
        B::template conj_transpose<T>(panel, row.column_range(at, at + width),
                                      upper.row_range(layout.offset(i), layout.offset(i) + width));
      }
      if (pulls) ring.release(turn++, {panel.record(), {}, {}});
    }
  }
  copies.wait(panel.record());
}

}  // namespace jaxmg
