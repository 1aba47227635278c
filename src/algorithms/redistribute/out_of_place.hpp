// Block layout to cyclic and back into other storage: every rank pulls what will be its own.
#pragma once

#include <vector>

#include "algorithms/redistribute/rows.hpp"
#include "distribution/pieces.hpp"
#include "team/rank.hpp"

namespace jaxmg {

namespace detail {

/// dst := the pieces that `here` places on this rank, from where `there` places them.
template <Backend B, Scalar T>
void pull_pieces(Rank<B>& rank, const std::vector<Piece>& pieces, index_t order,
                 ColumnPlace Piece::*there, ColumnPlace Piece::*here, MatrixView<const T> src,
                 MatrixView<T> dst, Rows rows) {
  auto& queue = rank.copies();
  const index_t tag = rank.reserve(1);
  rank.post(tag, src.data, queue);
  std::vector<const T*> shard(static_cast<std::size_t>(rank.size()), nullptr);
  for (const Piece& piece : pieces) {
    if ((piece.*here).rank != rank.index()) continue;
    const auto source = static_cast<std::size_t>((piece.*there).rank);
    if (shard[source] == nullptr) {
      shard[source] = rank.template take<T>((piece.*there).rank, tag, queue);
    }
    const MatrixView<const T> theirs(shard[source], order, src.cols, src.ld);
    const index_t first = rows == Rows::all ? 0 : piece.column;
    const index_t count = order - first;
    rank.template read<T>((piece.*there).rank, queue,
                          theirs.block(first, (piece.*there).local, count, piece.width),
                          dst.block(first, (piece.*here).local, count, piece.width));
  }
}

}  // namespace detail

/// Block -> cyclic, from the storage of one layout to that of another. `block` is this rank's
/// shard, its ld the same on all ranks; rows and columns from the order on are not touched.
/// Enqueued on rank.copies(). Moves n^2 / P elements a rank (half with Rows::from_diagonal), all
/// links at once.
template <Backend B, Scalar T>
void block_to_cyclic(Rank<B>& rank, const BlockCyclic& from, const BlockCyclic& to,
                     MatrixView<const T> block, MatrixView<T> cyclic, Rows rows) {
  detail::pull_pieces<B, T>(rank, pieces(from, to), to.order(), &Piece::block, &Piece::cyclic,
                            block, cyclic, rows);
}
template <Backend B, Scalar T>
void block_to_cyclic(Rank<B>& rank, const BlockCyclic& layout, MatrixView<const T> block,
                     MatrixView<T> cyclic, Rows rows) {
  block_to_cyclic<B, T>(rank, layout, layout, block, cyclic, rows);
}

/// Cyclic -> block, likewise.
template <Backend B, Scalar T>
void cyclic_to_block(Rank<B>& rank, const BlockCyclic& from, const BlockCyclic& to,
                     MatrixView<const T> cyclic, MatrixView<T> block, Rows rows) {
  detail::pull_pieces<B, T>(rank, pieces(to, from), from.order(), &Piece::cyclic, &Piece::block,
                            cyclic, block, rows);
}
template <Backend B, Scalar T>
void cyclic_to_block(Rank<B>& rank, const BlockCyclic& layout, MatrixView<const T> cyclic,
                     MatrixView<T> block, Rows rows) {
  cyclic_to_block<B, T>(rank, layout, layout, cyclic, block, rows);
}

}  // namespace jaxmg
