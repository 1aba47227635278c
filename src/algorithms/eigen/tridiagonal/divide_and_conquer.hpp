// Eigenvalues and eigenvectors of a symmetric tridiagonal matrix by divide and conquer.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>
#include <vector>

#include "algorithms/eigen/tridiagonal/merge_level.hpp"

namespace jaxmg {

/// T = V diag(w) V^T for a symmetric tridiagonal T of order n, on all ranks of a team together.
///
/// Cuppen's divide and conquer with Gu and Eisenstat's eigenvectors (LAPACK stedc, laed1 to laed4;
/// Tisseur and Dongarra, SIAM J. Sci. Comput. 20, 1999). A merge joins the decompositions of two
/// neighbouring diagonal blocks, torn apart at the coupling e between them:
///
///     T = [Q1 0; 0 Q2] (diag(d) + rho z z^T) [Q1 0; 0 Q2]^T = Q S diag(lambda) S^T Q^T,
///
/// z made of the last row of Q1 and the first of Q2; see merge_level.hpp.
///
/// **Each rank has a block of rows of Q**, and makes the rows of every product that it has. The
/// cuts at the top of the tree are the borders of these blocks, so that below them a rank is alone.
/// Where ranks join, they exchange two rows z, the d, and the shares of roots and refined weights
/// that each has worked out: O(m).
///
/// The products at the root of the tree are n^3 / P flops a rank, all of them 4 n^3 / (3 P) without
/// deflation; see MergeLevel for the rest. The order in which eigenvectors are stored is that of
/// the merges until the end, when two passes over n^2 / P elements a rank sort them, and an
/// all-to-all of as many turns blocks of rows into block columns.
///
/// All decisions of the host are taken from the same bits on all ranks that they concern.
template <Backend B, class R>
requires TridiagonalBackendFor<B, R>
class DivideAndConquer {
 public:
  DivideAndConquer(Rank<B>& rank, index_t n, index_t leaf, const DivideAndConquerWork<R>& work,
                   MatrixView<R> V, std::int32_t* info)
      : rank_(rank),
        queue_(rank.panel()),
        n_(n),
        leaf_(std::clamp<index_t>(leaf, 2, widest_leaf)),
        rows_(rows_of(rank, n, work.Q, V.data)),
        work_(work),
        V_(V),
        info_(info),
        own_info_(work.infos + rank.size()) {}

  void run(const R* d, const R* e, R* w) {
    B::fill(queue_, std::int32_t{0}, MatrixView<std::int32_t>(own_info_, 1, 1, 1));
    TridiagonalBlocks blocks = read_blocks(d, e);
    if (blocks.finite()) {
      solve_own_rows(blocks);
      join_ranks(blocks);
      write_out(blocks, w);
    } else {
      B::fill(queue_, std::int32_t{1}, MatrixView<std::int32_t>(info_, 1, 1, 1));
    }
    B::template fill_nan_if<R>(queue_, info_, {w, n_, 1, n_});
    B::template fill_nan_if<R>(queue_, info_, own_columns());
  }

 private:
  static EigenvectorRows<R> rows_of(Rank<B>& rank, index_t n, R* Q, R* packed) {
    const Shares shares{0, n, rank.size()};
    const index_t first = shares.border(rank.index()), last = shares.border(rank.index() + 1);
    const index_t rows = last - first, ld = std::max<index_t>(1, rows);
    return {shares, first, last, {Q, rows, n, ld}, {packed, rows, n, ld}};
  }

  /// The columns of V on this rank that count.
  MatrixView<R> own_columns() const {
    const index_t first = std::min(V_.cols * rank_.index(), n_);
    return V_.block(0, 0, n_, std::min(V_.cols, n_ - first));
  }

  TridiagonalBlocks read_blocks(const R* d, const R* e) {
    std::vector<R> diagonal(static_cast<std::size_t>(n_));
    std::vector<R> coupling(static_cast<std::size_t>(std::max<index_t>(0, n_ - 1)));
    B::download(queue_, d, n_, diagonal.data());
    B::download(queue_, e, static_cast<index_t>(coupling.size()), coupling.data());
    queue_.synchronize();
    return {{diagonal.begin(), diagonal.end()},
            {coupling.begin(), coupling.end()},
            std::numeric_limits<R>::epsilon() / 2};
  }

  /// Of each join the part that belongs to the block which its cut goes through.
  static std::vector<Merge> merges_of(const TridiagonalBlocks& blocks, const Shares& shares,
                                      const std::vector<Join>& joins) {
    std::vector<Merge> merges;
    for (const Join& join : joins) {
      const index_t cut = shares.border(join.cut);
      const index_t first = shares.border(join.first), last = shares.border(join.last);
      // A half may be empty where there are fewer rows than ranks.
      if (first == cut || cut == last || blocks.coupling(cut) == 0) continue;
      merges.push_back({std::max(first, blocks.begin(cut)), cut, std::min(last, blocks.end(cut))});
    }
    return merges;
  }

  // ---- Below the ranks ----------------------------------------------------------------------

  void solve_own_rows(TridiagonalBlocks& blocks) {
    B::template fill<R>(queue_, R(0), rows_.Q);
    const index_t count = rows_.Q.rows;
    if (count == 0) return;
    index_t leaves = 1;
    while (leaves * leaf_ < count) leaves *= 2;
    const Shares local{rows_.first, count, leaves};
    for (index_t i = 1; i < leaves; ++i) blocks.tear(local.border(i));
    blocks.tear(rows_.first);
    blocks.tear(rows_.last);
    solve_leaves(blocks, local);
    MergeLevel<B, R> alone(rank_, rows_, work_, {rank_.index(), rank_.index() + 1}, 0, own_info_);
    for (int level = 0; level < join_levels(leaves); ++level) {
      alone.run(blocks, merges_of(blocks, local, joins(leaves, level)));
    }
  }

  void solve_leaves(const TridiagonalBlocks& blocks, const Shares& local) {
    std::vector<double> d, e;
    std::vector<index_t> borders;
    for (index_t i = rows_.first; i < rows_.last; ++i) {
      d.push_back(blocks.diagonal(i));
      e.push_back(blocks.coupling(i + 1));
      if (blocks.begin(i) == i) borders.push_back(i);
    }
    for (index_t i = 0; i <= local.count; ++i) borders.push_back(local.border(i));
    std::sort(borders.begin(), borders.end());
    borders.erase(std::unique(borders.begin(), borders.end()), borders.end());
    const auto count = static_cast<index_t>(borders.size()) - 1;
    B::upload(queue_, std::move(d), work_.d + rows_.first);
    B::upload(queue_, std::move(e), work_.e + rows_.first);
    B::upload(queue_, std::move(borders), work_.columns);
    B::template solve_leaves<R>(queue_, work_.columns, count, work_.d, work_.e,
                                rows_.Q.column_range(rows_.first, rows_.last), own_info_);
  }

  // ---- Across ranks -------------------------------------------------------------------------

  void join_ranks(const TridiagonalBlocks& blocks) {
    for (int level = 0; level < join_levels(rank_.size()); ++level) {
      // Nobody reads what was posted in the level before any more.
      rank_.barrier(queue_);
      const index_t tag = rank_.reserve(MergeLevel<B, R>::tags);
      for (const Join& join : joins(rank_.size(), level)) {
        if (rank_.index() < join.first || rank_.index() >= join.last) continue;
        const MergeGroup group{static_cast<int>(join.first), static_cast<int>(join.last)};
        MergeLevel<B, R>(rank_, rows_, work_, group, tag, own_info_)
            .run(blocks, merges_of(blocks, rows_.shares, {join}));
      }
    }
  }

  // ---- At the end ---------------------------------------------------------------------------

  /// w, ascending, on all ranks, and V in block columns.
  void write_out(const TridiagonalBlocks& blocks, R* w) {
    rank_.barrier(queue_);
    const index_t d_tag = rank_.reserve(2), q_tag = d_tag + 1;
    rank_.post(d_tag, work_.d, queue_);
    for (int p = 0; p < rank_.size(); ++p) {
      pull_part<B>(rank_, queue_, p, d_tag, work_.shown_d, rows_.shares.border(p),
                   rows_.shares.border(p + 1));
    }
    rank_.all_reduce_info(queue_, own_info_, work_.infos, info_);
    sort(blocks, w);
    B::template gather_columns<R>(queue_, rows_.Q, work_.columns, rows_.packed);
    B::template copy<R>(queue_, rows_.packed, rows_.Q);
    rank_.post(q_tag, rows_.Q.data, queue_);
    pull_columns(q_tag);
    rank_.barrier(queue_);  // nobody reads a peer's Q any more
  }

  void sort(const TridiagonalBlocks& blocks, R* w) {
    std::vector<double> d(static_cast<std::size_t>(n_));
    B::download(queue_, work_.shown_d, n_, d.data());
    queue_.synchronize();
    std::vector<index_t> columns(d.size());
    for (index_t i = 0; i < n_; ++i) {
      const auto at = static_cast<std::size_t>(i);
      columns[at] = i;
      d[at] = std::isfinite(d[at]) ? blocks.unscaled(i, d[at]) : 0;
    }
    const auto value = [&](index_t i) { return d[static_cast<std::size_t>(i)]; };
    std::stable_sort(columns.begin(), columns.end(),
                     [&](index_t i, index_t j) { return value(i) < value(j); });
    std::vector<R> ascending;
    for (const index_t i : columns) ascending.push_back(static_cast<R>(value(i)));
    B::upload(queue_, std::move(ascending), w);
    B::upload(queue_, std::move(columns), work_.columns);
  }

  /// This rank's columns of all ranks' rows.
  void pull_columns(index_t tag) {
    const MatrixView<R> mine = own_columns();
    const index_t first = std::min(V_.cols * rank_.index(), n_);
    for (int i = 0; i < rank_.size(); ++i) {
      const int p = (rank_.index() + i) % rank_.size();
      const index_t begin = rows_.shares.border(p), end = rows_.shares.border(p + 1);
      if (begin == end || mine.cols == 0) continue;
      const MatrixView<const R> theirs(rank_.template take<R>(p, tag, queue_), end - begin, n_,
                                       end - begin);
      rank_.template read<R>(p, queue_, theirs.column_range(first, first + mine.cols),
                             mine.row_range(begin, end));
    }
  }

  Rank<B>& rank_;
  typename B::Queue& queue_;
  index_t n_;
  index_t leaf_;
  EigenvectorRows<R> rows_;  ///< packed in V's storage
  const DivideAndConquerWork<R>& work_;
  MatrixView<R> V_;
  std::int32_t* info_;
  std::int32_t* own_info_;
};

/// T = V diag(w) V^T; see DivideAndConquer.
///
/// `d` (n) and `e` (n - 1), T's diagonal and off-diagonal, are the same on all ranks, ready for
/// rank.panel(). `w` (n) becomes the eigenvalues, ascending, on all ranks. `V` is rank p's shard,
/// its storage n rows and n_loc columns, n_loc the same on all ranks and P n_loc >= n: it becomes
/// columns p n_loc up to (p + 1) n_loc of the eigenvectors; columns from n on, and what its storage
/// has from its first element to its last that is no column, are scratch. *info becomes 0, or not
/// where T is not finite or an iteration has failed: then all of w and V is NaN, on all ranks. No
/// peer reads `work` any more then.
/// `leaf` is the order below which the tree does not go on, widest_leaf at most. All is enqueued on
/// rank.panel(), on which the host waits once a level, log2(n / leaf) times in all, and twice more.
template <Backend B, class R>
void divide_and_conquer(Rank<B>& rank, index_t n, const R* d, const R* e, R* w, MatrixView<R> V,
                        std::int32_t* info, const DivideAndConquerWork<R>& work,
                        index_t leaf = widest_leaf) {
  DivideAndConquer<B, R>(rank, n, leaf, work, V, info).run(d, e, w);
}

}  // namespace jaxmg
