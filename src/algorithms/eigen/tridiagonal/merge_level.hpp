// One level of merges in divide and conquer.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>
#include <vector>

#include "algorithms/eigen/tridiagonal/blocks.hpp"
#include "algorithms/eigen/tridiagonal/deflation.hpp"
#include "algorithms/eigen/tridiagonal/row_blocks.hpp"
#include "device/contract_tridiagonal.hpp"
#include "team/rank.hpp"

namespace jaxmg {

/// Scratch of divide_and_conquer(), all of it in this rank's memory. For order n on P ranks and S
/// of c columns: n ceil(n / P) + n (c + 1) elements of R, 6 n doubles, 2 n + 1 indices, n roots, n
/// rotations, P + 1 integers. The eigenvectors' own storage, V, serves as the other copy of Q.
template <class R>
struct DivideAndConquerWork {
  R* Q;              ///< ceil(n / P) n: this rank's rows of the eigenvectors
  MatrixView<R> S;   ///< n x c: as many eigenvectors of an equation as are made at once
  R* row;            ///< n: a merge's rows of Q
  double* d;         ///< n: the eigenvalues of all blocks, as far as this rank knows them
  double* e;         ///< n
  double* poles;     ///< n
  double* z;         ///< n
  double* weights;   ///< n
  double* shown_d;   ///< n: d as peers may read it
  index_t* columns;  ///< n + 1
  index_t* rows;     ///< n
  SecularRoot* roots;
  Rotation* rotations;
  std::int32_t* infos;  ///< one a rank, and this rank's own
};

/// The ranks that take part in a merge.
struct MergeGroup {
  int first;
  int last;
  int size() const { return last - first; }
};

/// This rank's rows of the eigenvectors.
template <class R>
struct EigenvectorRows {
  Shares shares;  ///< of all ranks
  index_t first;  ///< of this one
  index_t last;
  MatrixView<R> Q;       ///< its rows, all columns
  MatrixView<R> packed;  ///< as large, scratch
};

/// dst[begin .. end) := src[begin .. end).
template <Backend B, class X>
void copy_part(typename B::Queue& queue, const X* src, X* dst, index_t begin, index_t end) {
  const index_t count = end - begin;
  B::copy(queue, MatrixView<const X>(src + begin, count, 1, count),
          MatrixView<X>(dst + begin, count, 1, count));
}

/// mine[begin .. end) := the same part of the array that `from` has posted.
template <Backend B, class X>
void pull_part(Rank<B>& rank, typename B::Queue& queue, int from, index_t tag, X* mine,
               index_t begin, index_t end) {
  if (begin >= end) return;
  const X* theirs = rank.template take<X>(from, tag, queue);
  const index_t count = end - begin;
  rank.template read<X>(from, queue, {theirs + begin, count, 1, count},
                        {mine + begin, count, 1, count});
}

/// Joins the eigenvectors of neighbouring blocks, all merges of a level that this rank takes part
/// in: Q := Q S, S the eigenvectors of diag(d) + rho z z^T.
///
/// z is made of the two rows of Q at the cut. Deflation (deflation.hpp) leaves an equation of order
/// k <= m for a merge of order m. Its roots (secular.hpp) and refined weights are found by all
/// ranks of the merge, each a share. Then each makes S, some columns at a time, from O(k) numbers,
/// and multiplies its own rows.
///
/// A rank's cost of a merge of order m with k left and P' ranks in it, and what bounds it on a GPU:
///   * the product, (m / P') k^2 flops: half of a plain one's, as rows on one side of the cut need
///     no eigenvectors that are zero there. Bound by the rate of gemm, and most of the time: n^3 /
///     P at the root of the tree and 4 n^3 / (3 P) in all, without deflation;
///   * some 6 k^2 / P' divisions with 7 flops each, in double, for roots and weights, and k^2 for S
///     on every rank: bound by the rate of divisions, of which S has one to m / P' flops of the
///     product;
///   * rotations, packing, S and the product's result, up to 6 passes over m^2 / P' elements and 2
///     over k^2: bound by memory;
///   * with P' > 1: 3 m doubles from two ranks for z and d and 3 k / P' from each for roots and
///     weights, 4 waits for peers after a barrier: bound by latency;
///   * one wait of the host, and O(m log m) of its work, for each level.
///
/// All decisions of the host are taken from the same bits on all ranks that they concern.
template <Backend B, class R>
requires TridiagonalBackendFor<B, R>
class MergeLevel {
 public:
  /// Tags that a level takes where several ranks join.
  static constexpr index_t tags = 4;

  /// `first_tag`: the first of them. Nobody may read what this rank has posted before.
  MergeLevel(Rank<B>& rank, const EigenvectorRows<R>& rows, const DivideAndConquerWork<R>& work,
             MergeGroup group, index_t first_tag, std::int32_t* info)
      : rank_(rank),
        queue_(rank.panel()),
        rows_(rows),
        work_(work),
        group_(group),
        tags_(first_tag),
        info_(info) {}

  void run(const TridiagonalBlocks& blocks, const std::vector<Merge>& merges) {
    if (merges.empty()) return;
    for (const Merge& merge : merges) couple(merge);
    LevelArrays level = read_level(merges);
    std::vector<RankOneUpdate> updates;
    for (const Merge& merge : merges) {
      updates.push_back(deflate(merge, blocks.coupling(merge.cut), eps, level));
    }
    write_level(level);
    for (const RankOneUpdate& update : updates) apply(update);
  }

 private:
  static constexpr double eps = std::numeric_limits<R>::epsilon() / 2;

  bool owns(index_t row) const { return rows_.first <= row && row < rows_.last; }
  int owner(index_t row) const { return static_cast<int>(rows_.shares.holder(row)); }

  /// z and d of a merge, on all its ranks: from those that have the two rows of Q.
  void couple(const Merge& merge) {
    const index_t row_tag = tags_, d_tag = tags_ + 1;
    const auto read_row = [&](index_t row, index_t begin, index_t end) {
      if (!owns(row)) return;
      B::template copy<R>(queue_, rows_.Q.block(row - rows_.first, begin, 1, end - begin),
                          {work_.row + begin, 1, end - begin, 1});
    };
    read_row(merge.cut - 1, merge.first, merge.cut);
    read_row(merge.cut, merge.cut, merge.last);
    if (group_.size() == 1) return;
    copy_part<B>(queue_, work_.d, work_.shown_d, merge.first, merge.last);
    rank_.post(row_tag, work_.row, queue_);
    rank_.post(d_tag, work_.shown_d, queue_);
    const auto pull = [&](int from, index_t begin, index_t end) {
      if (from == rank_.index()) return;
      pull_part<B>(rank_, queue_, from, row_tag, work_.row, begin, end);
      pull_part<B>(rank_, queue_, from, d_tag, work_.d, begin, end);
    };
    pull(owner(merge.cut - 1), merge.first, merge.cut);
    pull(owner(merge.cut), merge.cut, merge.last);
  }

  /// The one time in a level that the host waits. A leaf that has failed may leave anything, which
  /// must not keep the host from its way: *info tells of it.
  LevelArrays read_level(const std::vector<Merge>& merges) {
    const index_t begin = merges.front().first, end = merges.back().last;
    LevelArrays level(begin, end);
    std::vector<R> row(level.z.size());
    B::download(queue_, work_.d + begin, end - begin, level.d.data());
    B::download(queue_, work_.row + begin, end - begin, row.data());
    queue_.synchronize();
    std::copy(row.begin(), row.end(), level.z.begin());
    for (std::vector<double>* values : {&level.d, &level.z}) {
      std::replace_if(
          values->begin(), values->end(), [](double x) { return !std::isfinite(x); }, 0.0);
    }
    return level;
  }

  void write_level(LevelArrays& level) {
    B::upload(queue_, std::move(level.d), work_.d + level.offset);
    B::upload(queue_, std::move(level.z), work_.z + level.offset);
    B::upload(queue_, std::move(level.poles), work_.poles + level.offset);
    B::upload(queue_, std::move(level.columns), work_.columns + level.offset);
    B::upload(queue_, std::move(level.rows), work_.rows + level.offset);
    B::upload(queue_, std::move(level.rotations), work_.rotations);
  }

  /// Q := Q S, and the eigenvalues.
  void apply(const RankOneUpdate& update) {
    if (update.kept == 0) return;
    const auto [first, cut, last] = update.merge;
    const index_t begin = std::max(rows_.first, first), end = std::min(rows_.last, last);
    const index_t rows = std::max<index_t>(0, end - begin), order = last - first;
    const MatrixView<R> Q =
        rows_.Q.block(rows > 0 ? begin - rows_.first : 0, 0, rows, rows_.Q.cols);
    const MatrixView<R> packed = rows_.packed.block(0, 0, rows, order);
    B::template rotate_columns<R>(queue_, work_.rotations + update.first_rotation, update.rotations,
                                  Q);
    B::template gather_columns<R>(queue_, Q, work_.columns + first, packed);
    B::template copy<R>(queue_, packed.column_range(update.kept, order),
                        Q.column_range(first + update.kept, last));
    const SecularEquation equation = solve(update);
    multiply(update, equation, packed, Q.column_range(first, first + update.kept),
             std::clamp<index_t>(cut - begin, 0, rows));
  }

  /// All roots, and the equation with refined weights: each rank finds a share of both.
  SecularEquation solve(const RankOneUpdate& update) {
    const index_t root_tag = tags_ + 2, weight_tag = tags_ + 3, first = update.merge.first;
    SecularEquation equation{update.kept, work_.poles + first, work_.z + first, update.rho};
    SecularRoot* const roots = work_.roots + first;
    double* const weights = work_.weights + first;
    const Shares shares{0, update.kept, group_.size()};
    const index_t begin = shares.border(rank_.index() - group_.first);
    const index_t end = shares.border(rank_.index() - group_.first + 1);
    B::solve_secular(queue_, equation, begin, end, roots, info_);
    gather_shares(roots, shares, root_tag);
    B::refine_weights(queue_, equation, roots, begin, end, weights);
    gather_shares(weights, shares, weight_tag);
    equation.z = weights;
    return equation;
  }

  template <class X>
  void gather_shares(X* mine, const Shares& shares, index_t tag) {
    if (group_.size() == 1) return;
    rank_.post(tag, mine, queue_);
    for (int p = group_.first; p < group_.last; ++p) {
      if (p == rank_.index()) continue;
      const index_t i = p - group_.first;
      pull_part<B>(rank_, queue_, p, tag, mine, shares.border(i), shares.border(i + 1));
    }
  }

  /// Q := packed S, where of packed's first `above` rows and of the others only those columns are
  /// not zero that RankOneUpdate tells.
  void multiply(const RankOneUpdate& update, const SecularEquation& equation,
                MatrixView<const R> packed, MatrixView<R> Q, index_t above) {
    const index_t first = update.merge.first, kept = update.kept;
    for (index_t j = 0; j < kept; j += work_.S.cols) {
      const index_t end = std::min(j + work_.S.cols, kept);
      const MatrixView<R> S(work_.S.data, kept, end - j, kept);
      B::template secular_vectors<R>(queue_, equation, work_.roots + first, work_.rows + first, j,
                                     work_.d + first + j, S);
      const auto multiply_rows = [&](index_t row, index_t row_end, index_t k, index_t k_end) {
        B::template gemm<R>(
            queue_, Op::none, Op::none, R(1), packed.row_range(row, row_end).column_range(k, k_end),
            S.row_range(k, k_end), R(0), Q.row_range(row, row_end).column_range(j, end));
      };
      multiply_rows(0, above, 0, update.above);
      multiply_rows(above, Q.rows, kept - update.below, kept);
    }
  }

  Rank<B>& rank_;
  typename B::Queue& queue_;
  const EigenvectorRows<R>& rows_;
  const DivideAndConquerWork<R>& work_;
  MergeGroup group_;
  index_t tags_;
  std::int32_t* info_;
};

}  // namespace jaxmg
