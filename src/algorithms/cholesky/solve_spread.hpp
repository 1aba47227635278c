// Solves for many right-hand sides, each rank its own.
#pragma once

#include <array>
#include <vector>

#include "algorithms/cholesky/solve.hpp"

namespace jaxmg {

/// Where solve_spread() pulls peers' tile columns to, used in turn; empty where it reads them in
/// place.
template <Scalar T>
struct SpreadSolveWork {
  std::array<MatrixView<T>, 2> columns;   ///< n x T
  std::array<MatrixView<T>, 2> inverses;  ///< T x T, where there are inverses of the tiles
  MatrixView<T> rows;                     ///< m x T scratch, likewise
};

/// Y := Y L^-H L^-1 for this rank's own m right-hand sides, the rows of Y (m x n, m may differ from
/// rank to rank); see solve.hpp for why they are rows.
///
/// Tile columns of L pass all ranks twice, forward and back, one ahead of the products:
/// 2 n^2 m flops and n^2 elements of traffic a rank, no rank waits for another's work. L and
/// `inverses` are this rank's part of the factor, their lds the same on all ranks; they and Y must
/// be ready for rank.bulk(), where the products are enqueued.
template <Backend B_, Scalar T>
class SpreadSolve {
 public:
  SpreadSolve(Rank<B_>& rank, const BlockCyclic& layout, MatrixView<const T> L,
              TileInverses<T> inverses, const SpreadSolveWork<T>& work)
      : rank_(rank), layout_(layout), L_(L), inverses_(inverses), work_(work) {}

  void run(MatrixView<T> Y) {
    meet();
    const index_t tiles = layout_.tiles();
    for (index_t k = 0; k < tiles; ++k) eliminate_forward(k, fetch(k), Y);
    for (index_t k = tiles - 1; k >= 0; --k) eliminate_back(k, fetch(k), Y);
  }

 private:
  using Event = typename B_::Event;

  struct Tile {
    MatrixView<const T> column;   ///< of L, from the diagonal down
    MatrixView<const T> inverse;  ///< of the diagonal tile, or empty
  };

  /// Everybody's part of the factor is there.
  void meet() {
    const index_t column_tag = rank_.reserve(2), inverse_tag = column_tag + 1;
    rank_.post(column_tag, L_.data, rank_.bulk());
    rank_.post(inverse_tag, inverses_.data, rank_.bulk());
    auto& reader = rank_.reads_peers_directly() ? rank_.bulk() : rank_.copies();
    for (int p = 0; p < rank_.size(); ++p) {
      columns_.push_back(rank_.template take<T>(p, column_tag, reader));
      tile_inverses_.push_back(rank_.template take<T>(p, inverse_tag, reader));
    }
  }

  /// Tile column k where rank.bulk() may read it next.
  Tile fetch(index_t k) {
    const auto owner = static_cast<std::size_t>(layout_.owner(k));
    const MatrixView<const T> L(columns_[owner], L_.rows, L_.cols, L_.ld);
    MatrixView<const T> X(inverses_);
    X.data = tile_inverses_[owner];
    const Tile theirs{tile_column(layout_, L, k), tile_inverse(layout_, X, k)};
    if (layout_.owner(k) == rank_.index() || rank_.reads_peers_directly()) return theirs;

    auto& copies = rank_.copies();
    const std::size_t slot = fetched_++ % used_.size();
    copies.wait(used_[slot]);
    const MatrixView<T> column =
        work_.columns[slot].block(0, 0, theirs.column.rows, theirs.column.cols);
    rank_.template read<T>(layout_.owner(k), copies, theirs.column, column);
    MatrixView<T> inverse;
    if (!theirs.inverse.empty()) {
      inverse = work_.inverses[slot].block(0, 0, theirs.inverse.rows, theirs.inverse.cols);
      rank_.template read<T>(layout_.owner(k), copies, theirs.inverse, inverse);
    }
    rank_.bulk().wait(copies.record());
    in_use_ = &used_[slot];
    return {column, inverse};
  }

  void release() {
    if (in_use_ != nullptr) *in_use_ = rank_.bulk().record();
    in_use_ = nullptr;
  }

  /// Y1 := Y1 L11^-H,  Y2 -= Y1 L21^H
  void eliminate_forward(index_t k, const Tile& tile, MatrixView<T> Y) {
    const index_t k1 = layout_.offset(k), k2 = layout_.offset(k + 1);
    const MatrixView<T> Y1 = Y.column_range(k1, k2), Y2 = Y.column_range(k2, layout_.order());
    const auto [L11, L21] = split(tile.column);
    diagonal_solve<B_, T>(rank_.bulk(), Op::conj_trans, L11, tile.inverse, Y1, work_.rows);
    B_::template gemm<T>(rank_.bulk(), Op::none, Op::conj_trans, T(-1), Y1, L21, T(1), Y2);
    release();
  }

  /// Y1 -= Y2 L21,  Y1 := Y1 L11^-1
  void eliminate_back(index_t k, const Tile& tile, MatrixView<T> Y) {
    const index_t k1 = layout_.offset(k), k2 = layout_.offset(k + 1);
    const MatrixView<T> Y1 = Y.column_range(k1, k2), Y2 = Y.column_range(k2, layout_.order());
    const auto [L11, L21] = split(tile.column);
    B_::template gemm<T>(rank_.bulk(), Op::none, Op::none, T(-1), Y2, L21, T(1), Y1);
    diagonal_solve<B_, T>(rank_.bulk(), Op::none, L11, tile.inverse, Y1, work_.rows);
    release();
  }

  static std::pair<MatrixView<const T>, MatrixView<const T>> split(MatrixView<const T> column) {
    return {column.row_range(0, column.cols), column.row_range(column.cols, column.rows)};
  }

  Rank<B_>& rank_;
  const BlockCyclic& layout_;
  MatrixView<const T> L_;
  TileInverses<T> inverses_;
  const SpreadSolveWork<T>& work_;
  std::vector<const T*> columns_;
  std::vector<const T*> tile_inverses_;
  std::array<Event, 2> used_;
  Event* in_use_ = nullptr;
  std::size_t fetched_ = 0;
};

}  // namespace jaxmg
