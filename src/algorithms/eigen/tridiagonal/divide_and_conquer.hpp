// Eigenvalues and eigenvectors of a symmetric tridiagonal matrix by divide and conquer.
#pragma once

#include <algorithm>
#include <limits>
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

/// T = V diag(w) V^T for a symmetric tridiagonal T of order n, on all ranks of a team together.
///
/// Cuppen's divide and conquer with Gu and Eisenstat's eigenvectors (LAPACK stedc, laed1 to laed4;
/// Tisseur and Dongarra, SIAM J. Sci. Comput. 20, 1999). A merge joins the decompositions of two
/// neighbouring diagonal blocks, torn apart at the coupling e between them:
///
///     T = [Q1 0; 0 Q2] (diag(d) + rho z z^T) [Q1 0; 0 Q2]^T = Q S diag(lambda) S^T Q^T,
///
/// z made of the last row of Q1 and the first of Q2. Deflation (deflation.hpp) leaves an equation
/// of order k <= m for a merge of order m, and one product Q := Q S.
///
/// **Each rank has a block of rows of Q**, and makes the rows of every product that it has. The
/// cuts at the top of the tree are the borders of these blocks, so that below them a rank is alone.
/// Where ranks join, they exchange two rows z, the d, and the shares of roots and refined weights
/// that each has worked out: O(m). Then all of them make S, column by column, c columns at a time.
/// At the end one all-to-all turns blocks of rows into block columns.
///
/// Cost of a merge, of order m with k left and P' ranks in it, a rank:
///   * the product, 2 (m / P') k k flops, half of that as the rows above the cut need no pairs that
///     are zero there: n^3 / P flops for the top of the tree and 4 n^3 / (3 P) in all without
///     deflation; what the time goes to;
///   * 4 k^2 / P' poles for the roots and k^2 / P' for the weights, k^2 for S, each a division and
///     some flops in double: bound by the divisions, n / 100 times less than the product;
///   * rotations and packing, up to 6 passes over the m^2 / P' elements: bound by memory;
///   * four messages to each other rank of up to m doubles in all, and two reads by the host, for
///     one waiting; a level in which ranks join starts with a barrier.
///
/// All host decisions are taken from the same bits on all ranks that they concern. Work that a
/// merge's deflation spares, all ranks are spared alike.
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
        shares_{0, n, rank.size()},
        first_row_(shares_.border(rank.index())),
        last_row_(shares_.border(rank.index() + 1)),
        work_(work),
        V_(V),
        info_(info),
        own_info_(work.infos + rank.size()),
        Q_(work.Q, last_row_ - first_row_, n, std::max<index_t>(1, last_row_ - first_row_)),
        packed_(V.data, Q_.rows, n, Q_.ld) {}

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
  /// The ranks that take part in a merge.
  struct Group {
    int first;
    int last;
    int size() const { return last - first; }
  };

  static constexpr double eps = std::numeric_limits<R>::epsilon() / 2;
  static constexpr index_t tags_a_join = 4;

  bool owns(index_t row) const { return first_row_ <= row && row < last_row_; }
  int owner(index_t row) const { return static_cast<int>(shares_.holder(row)); }
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
    return {{diagonal.begin(), diagonal.end()}, {coupling.begin(), coupling.end()}, eps};
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
    B::template fill<R>(queue_, R(0), Q_);
    if (Q_.rows == 0) return;
    index_t leaves = 1;
    while (leaves * leaf_ < Q_.rows) leaves *= 2;
    const Shares local{first_row_, Q_.rows, leaves};
    for (index_t i = 1; i < leaves; ++i) blocks.tear(local.border(i));
    blocks.tear(first_row_);
    blocks.tear(last_row_);
    solve_leaves(blocks, local);
    const Group alone{rank_.index(), rank_.index() + 1};
    for (int level = 0; level < join_levels(leaves); ++level) {
      merge_level(blocks, merges_of(blocks, local, joins(leaves, level)), alone, 0);
    }
  }

  void solve_leaves(const TridiagonalBlocks& blocks, const Shares& local) {
    std::vector<double> d, e;
    std::vector<index_t> borders;
    for (index_t i = first_row_; i < last_row_; ++i) {
      d.push_back(blocks.diagonal(i));
      e.push_back(blocks.coupling(i + 1));
      if (blocks.begin(i) == i) borders.push_back(i);
    }
    for (index_t i = 0; i <= local.count; ++i) borders.push_back(local.border(i));
    std::sort(borders.begin(), borders.end());
    borders.erase(std::unique(borders.begin(), borders.end()), borders.end());
    const auto count = static_cast<index_t>(borders.size()) - 1;
    B::upload(queue_, std::move(d), work_.d + first_row_);
    B::upload(queue_, std::move(e), work_.e + first_row_);
    B::upload(queue_, std::move(borders), work_.columns);
    B::template solve_leaves<R>(queue_, work_.columns, count, work_.d, work_.e,
                                Q_.column_range(first_row_, last_row_), own_info_);
  }

  // ---- Across ranks -------------------------------------------------------------------------

  void join_ranks(const TridiagonalBlocks& blocks) {
    for (int level = 0; level < join_levels(rank_.size()); ++level) {
      // Nobody reads what was posted in the level before any more.
      rank_.barrier(queue_);
      const index_t tags = rank_.reserve(tags_a_join);
      for (const Join& join : joins(rank_.size(), level)) {
        if (rank_.index() < join.first || rank_.index() >= join.last) continue;
        const Group group{static_cast<int>(join.first), static_cast<int>(join.last)};
        merge_level(blocks, merges_of(blocks, shares_, {join}), group, tags);
      }
    }
  }

  // ---- One level of merges, of the same ranks -----------------------------------------------

  void merge_level(const TridiagonalBlocks& blocks, const std::vector<Merge>& merges, Group group,
                   index_t tags) {
    if (merges.empty()) return;
    for (const Merge& merge : merges) couple(merge, group, tags);
    LevelArrays level = read_level(merges);
    std::vector<RankOneUpdate> updates;
    for (const Merge& merge : merges) {
      updates.push_back(deflate(merge, blocks.coupling(merge.cut), eps, level));
    }
    write_level(level);
    for (const RankOneUpdate& update : updates) apply(update, group, tags);
  }

  /// z and d of a merge, on all its ranks: from those that have the two rows of Q.
  void couple(const Merge& merge, Group group, index_t tags) {
    const index_t row_tag = tags, d_tag = tags + 1;
    const auto read_row = [&](index_t row, index_t begin, index_t end) {
      if (!owns(row)) return;
      B::template copy<R>(queue_, Q_.block(row - first_row_, begin, 1, end - begin),
                          {work_.row + begin, 1, end - begin, 1});
    };
    read_row(merge.cut - 1, merge.first, merge.cut);
    read_row(merge.cut, merge.cut, merge.last);
    if (group.size() == 1) return;
    copy_part(work_.d, work_.shown_d, merge.first, merge.last);
    rank_.post(row_tag, work_.row, queue_);
    rank_.post(d_tag, work_.shown_d, queue_);
    const auto pull = [&](int from, index_t begin, index_t end) {
      if (from == rank_.index()) return;
      pull_part(from, row_tag, work_.row, begin, end);
      pull_part(from, d_tag, work_.d, begin, end);
    };
    pull(owner(merge.cut - 1), merge.first, merge.cut);
    pull(owner(merge.cut), merge.cut, merge.last);
  }

  /// mine[begin .. end) := what `from` has posted as its own array, likewise.
  template <class X>
  void pull_part(int from, index_t tag, X* mine, index_t begin, index_t end) {
    if (begin < end) copy_part(rank_.template take<X>(from, tag, queue_), mine, begin, end);
  }
  template <class X>
  void copy_part(const X* src, X* dst, index_t begin, index_t end) {
    const index_t count = end - begin;
    B::copy(queue_, MatrixView<const X>(src + begin, count, 1, count),
            MatrixView<X>(dst + begin, count, 1, count));
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
  void apply(const RankOneUpdate& update, Group group, index_t tags) {
    if (update.kept == 0) return;
    const auto [first, cut, last] = update.merge;
    const index_t begin = std::max(first_row_, first), end = std::min(last_row_, last);
    const index_t rows = std::max<index_t>(0, end - begin), order = last - first;
    const MatrixView<R> Q = Q_.block(std::max<index_t>(0, begin - first_row_), 0, rows, n_);
    const MatrixView<R> packed = packed_.block(0, 0, rows, order);
    B::template rotate_columns<R>(queue_, work_.rotations + update.first_rotation, update.rotations,
                                  Q);
    B::template gather_columns<R>(queue_, Q, work_.columns + first, packed);
    B::template copy<R>(queue_, packed.column_range(update.kept, order),
                        Q.column_range(first + update.kept, last));
    const SecularEquation equation = solve(update, group, tags);
    multiply(update, equation, packed, Q.column_range(first, first + update.kept),
             std::clamp<index_t>(cut - begin, 0, rows));
  }

  /// All roots, and the equation with refined weights: each rank finds a share of both.
  SecularEquation solve(const RankOneUpdate& update, Group group, index_t tags) {
    const index_t root_tag = tags + 2, weight_tag = tags + 3, first = update.merge.first;
    SecularEquation equation{update.kept, work_.poles + first, work_.z + first, update.rho};
    SecularRoot* const roots = work_.roots + first;
    double* const weights = work_.weights + first;
    const Shares shares{0, update.kept, group.size()};
    const index_t begin = shares.border(rank_.index() - group.first);
    const index_t end = shares.border(rank_.index() - group.first + 1);
    B::solve_secular(queue_, equation, begin, end, roots, own_info_);
    gather_shares(roots, shares, group, root_tag);
    B::refine_weights(queue_, equation, roots, begin, end, weights);
    gather_shares(weights, shares, group, weight_tag);
    equation.z = weights;
    return equation;
  }

  template <class X>
  void gather_shares(X* mine, const Shares& shares, Group group, index_t tag) {
    if (group.size() == 1) return;
    rank_.post(tag, mine, queue_);
    for (int p = group.first; p < group.last; ++p) {
      if (p == rank_.index()) continue;
      const index_t i = p - group.first;
      pull_part(p, tag, mine, shares.border(i), shares.border(i + 1));
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

  // ---- At the end ---------------------------------------------------------------------------

  /// w, ascending, on all ranks, and V in block columns.
  void write_out(const TridiagonalBlocks& blocks, R* w) {
    rank_.barrier(queue_);
    const index_t d_tag = rank_.reserve(2), q_tag = d_tag + 1;
    rank_.post(d_tag, work_.d, queue_);
    for (int p = 0; p < rank_.size(); ++p) {
      pull_part(p, d_tag, work_.shown_d, shares_.border(p), shares_.border(p + 1));
    }
    rank_.all_reduce_info(queue_, own_info_, work_.infos, info_);
    sort(blocks, w);
    B::template gather_columns<R>(queue_, Q_, work_.columns, packed_);
    B::template copy<R>(queue_, packed_, Q_);
    rank_.post(q_tag, Q_.data, queue_);
    pull_columns(q_tag);
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
      const index_t begin = shares_.border(p), end = shares_.border(p + 1);
      if (begin == end || mine.cols == 0) continue;
      const MatrixView<const R> theirs(rank_.template take<R>(p, tag, queue_), end - begin, n_,
                                       end - begin);
      B::template copy<R>(queue_, theirs.column_range(first, first + mine.cols),
                          mine.row_range(begin, end));
    }
  }

  Rank<B>& rank_;
  typename B::Queue& queue_;
  index_t n_;
  index_t leaf_;
  Shares shares_;
  index_t first_row_, last_row_;
  const DivideAndConquerWork<R>& work_;
  MatrixView<R> V_;
  std::int32_t* info_;
  std::int32_t* own_info_;
  MatrixView<R> Q_;
  MatrixView<R> packed_;  ///< in V's storage
};

/// T = V diag(w) V^T; see DivideAndConquer.
///
/// `d` (n) and `e` (n - 1), T's diagonal and off-diagonal, are the same on all ranks, ready for
/// rank.panel(). `w` (n) becomes the eigenvalues, ascending, on all ranks. `V` is rank p's shard,
/// its storage n rows and n_loc columns, n_loc the same on all ranks and P n_loc >= n: it becomes
/// columns p n_loc up to (p + 1) n_loc of the eigenvectors; columns from n on, and what its storage
/// has from its first element to its last that is no column, are scratch. *info becomes 0, or not
/// where T is not finite or an iteration has failed: then all of w and V is NaN, on all ranks.
/// `leaf` is the order below which the tree does not go on, widest_leaf at most. All is enqueued on
/// rank.panel(), on which the host waits once a level, log2(n / leaf) times in all, and twice more.
template <Backend B, class R>
void divide_and_conquer(Rank<B>& rank, index_t n, const R* d, const R* e, R* w, MatrixView<R> V,
                        std::int32_t* info, const DivideAndConquerWork<R>& work,
                        index_t leaf = widest_leaf) {
  DivideAndConquer<B, R>(rank, n, leaf, work, V, info).run(d, e, w);
}

}  // namespace jaxmg
