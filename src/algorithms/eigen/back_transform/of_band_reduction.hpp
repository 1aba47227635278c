// Back-transform of eigenvectors from band form: V := Q1 V, as V^H.
#pragma once

#include "algorithms/eigen/band_reduction/reduce.hpp"
#include "algorithms/panel_ring.hpp"

namespace jaxmg {

/// Scratch of apply_band_reduction(), with K columns of reflectors in a block: 2 K n + 4 K^2 and
/// 2 K m_loc elements.
template <Scalar T>
struct BandBackTransformWork {
  PanelStorage<T> blocks;  ///< (n + K) x K each: Y, and its factor below
  MatrixView<T> gram;      ///< K x K
  MatrixView<T> product;   ///< K x K
  MatrixView<T> UY;        ///< m_loc x K
  MatrixView<T> UYT;       ///< m_loc x K
};

/// Neighbouring panels, [begin, end), that are applied as one block reflector.
struct PanelGroup {
  std::size_t begin, end;
};

/// Groups of up to K columns, in order.
inline std::vector<PanelGroup> panel_groups(const std::vector<BandPanel>& panels, index_t K) {
  std::vector<PanelGroup> groups;
  for (std::size_t k = 0; k < panels.size(); ++k) {
    const bool fits = !groups.empty() && panels[k].end() - panels[groups.back().begin].column <= K;
    if (!fits) groups.push_back({k, k});
    groups.back().end = k + 1;
  }
  return groups;
}

/// The steps of apply_band_reduction(). The blocks come last to first, through two buffers: a block
/// is fetched on copies() and its factor merged on panel() while bulk() applies the one before.
template <BandReductionBackend B, Scalar T>
class BandBackTransform {
 public:
  BandBackTransform(Rank<B>& rank, const BlockCyclic& layout, MatrixView<T> A,
                    MatrixView<T> factors, index_t bandwidth, MatrixView<T> U,
                    const BandBackTransformWork<T>& work)
      : rank_(rank),
        layout_(layout),
        A_(A),
        factors_(factors),
        U_(U),
        work_(work),
        panels_(band_panels(layout, bandwidth)),
        ring_(work.blocks),
        tag_(rank.reserve(2)) {}

  void run() {
    rank_.post(tag_, A_.data, rank_.panel());
    rank_.post(tag_ + 1, factors_.data, rank_.panel());
    const std::vector<PanelGroup> groups = panel_groups(panels_, work_.gram.cols);
    for (std::size_t step = 0; step < groups.size(); ++step) {
      const PanelGroup& group = groups[groups.size() - 1 - step];
      const auto k = static_cast<index_t>(step);
      const index_t rows = layout_.order() - panels_[group.begin].first_row, cols = columns(group);
      const MatrixView<T> block = ring_.acquire(k, rows + cols, cols, rank_.copies());
      const MatrixView<T> Y = block.row_range(0, rows), factor = block.row_range(rows, block.rows);
      fetch_reflectors(group, Y);
      fetch_factors(group, factor);
      rank_.panel().wait(rank_.copies().record());
      merge(group, Y, factor);
      rank_.bulk().wait(rank_.panel().record());
      apply(Y, factor);
      ring_.release(k, {rank_.bulk().record()});
    }
    rank_.panel().wait(rank_.bulk().record());
  }

 private:
  index_t first_column(const PanelGroup& group) const { return panels_[group.begin].column; }
  index_t columns(const PanelGroup& group) const {
    return panels_[group.end - 1].end() - first_column(group);
  }
  /// The part of a group's Y that is one panel's, rows from the panel's first on.
  MatrixView<T> part(const PanelGroup& group, MatrixView<T> Y, std::size_t k) const {
    const BandPanel& panel = panels_[k];
    const index_t skipped = panel.first_row - panels_[group.begin].first_row;
    return Y.block(skipped, panel.column - first_column(group), Y.rows - skipped, panel.width);
  }
  MatrixView<T> diagonal_block(const PanelGroup& group, MatrixView<T> factor, std::size_t k) const {
    const index_t at = panels_[k].column - first_column(group);
    return factor.block(at, at, panels_[k].width, panels_[k].width);
  }
  /// What the owner of a panel has where this rank would have `mine`, if it were the owner.
  MatrixView<const T> owners(const BandPanel& panel, index_t tag, const T* my_base,
                             MatrixView<T> mine) {
    const T* const base = rank_.template take<T>(layout_.owner(panel.tile), tag, rank_.copies());
    return {base + (mine.data - my_base), mine.rows, mine.cols, mine.ld};
  }

  void fetch_reflectors(const PanelGroup& group, MatrixView<T> Y) {
    auto& queue = rank_.copies();
    for (std::size_t k = group.begin; k < group.end; ++k) {
      const MatrixView<T> mine = part(group, Y, k);
      const index_t above = Y.rows - mine.rows;
      rank_.template read<T>(
          layout_.owner(panels_[k].tile), queue,
          owners(panels_[k], tag_, A_.data, panel_reflectors(layout_, A_, panels_[k])), mine);
      B::template unit_lower<T>(queue, mine);
      B::template fill<T>(queue, T(0), {mine.data - above, above, mine.cols, mine.ld});
    }
  }

  void fetch_factors(const PanelGroup& group, MatrixView<T> factor) {
    auto& queue = rank_.copies();
    B::template fill<T>(queue, T(0), factor);
    for (std::size_t k = group.begin; k < group.end; ++k) {
      rank_.template read<T>(
          layout_.owner(panels_[k].tile), queue,
          owners(panels_[k], tag_ + 1, factors_.data, panel_factor(layout_, factors_, panels_[k])),
          diagonal_block(group, factor, k));
    }
  }

  /// (I - Y1 T1 Y1^H)(I - Y2 T2 Y2^H) = I - Y T Y^H,   T12 = -T1 (Y1^H Y2) T2
  void merge(const PanelGroup& group, MatrixView<T> Y, MatrixView<T> factor) {
    auto& queue = rank_.panel();
    for (std::size_t k = group.begin + 1; k < group.end; ++k) {
      const MatrixView<T> Y2 = part(group, Y, k), T2 = diagonal_block(group, factor, k);
      const index_t before = panels_[k].column - first_column(group), w = Y2.cols;
      const MatrixView<T> Y1 = Y.block(Y.rows - Y2.rows, 0, Y2.rows, before);
      const MatrixView<T> T1 = factor.block(0, 0, before, before);
      const MatrixView<T> G = work_.gram.block(0, 0, before, w);
      const MatrixView<T> GT = work_.product.block(0, 0, before, w);
      B::template gemm<T>(queue, Op::conj_trans, Op::none, T(1), Y1, Y2, T(0), G);
      B::template gemm<T>(queue, Op::none, Op::none, T(1), G, T2, T(0), GT);
      B::template gemm<T>(queue, Op::none, Op::none, T(-1), T1, GT, T(0),
                          factor.block(0, before, before, w));
    }
  }

  /// U -= (U Y) T^H Y^H
  void apply(MatrixView<T> Y, MatrixView<T> factor) {
    auto& queue = rank_.bulk();
    const MatrixView<T> U = U_.column_range(U_.cols - Y.rows, U_.cols);
    const MatrixView<T> UY = work_.UY.block(0, 0, U.rows, Y.cols);
    const MatrixView<T> UYT = work_.UYT.block(0, 0, U.rows, Y.cols);
    B::template gemm<T>(queue, Op::none, Op::none, T(1), U, Y, T(0), UY);
    B::template gemm<T>(queue, Op::none, Op::conj_trans, T(1), UY, factor, T(0), UYT);
    B::template gemm<T>(queue, Op::none, Op::conj_trans, T(-1), UYT, Y, T(1), U);
  }

  Rank<B>& rank_;
  const BlockCyclic& layout_;
  MatrixView<T> A_;
  MatrixView<T> factors_;
  MatrixView<T> U_;
  const BandBackTransformWork<T>& work_;
  std::vector<BandPanel> panels_;
  PanelRing<B, T> ring_;
  index_t tag_;
};

/// U := U Q1^H with Q1 of band_reduction(): V := Q1 V, LAPACK's unmtr of this stage, for U = V^H.
///
/// `A` (its ld the same on all ranks) and `factors` as band_reduction() left them, with this
/// bandwidth; U, m_loc x n, are any rows, each rank its own, and no rank needs to have any. The
/// panels' reflectors are merged to blocks of up to `work.gram.cols` = K >= bandwidth columns:
///
///     U -= (U Y) T^H Y^H    2 n^2 m_loc flops: products of inner size n and K, compute
///     T12 = -T1 (Y1^H Y2) T2    n^2 K / 2 flops and less on every rank, beside the former
///     messages            sizeof(T) n^2 / 2 bytes received by every rank, beside the former
///
/// (flops times 4 for complex). `A`, `factors` and U must be ready for panel() and U for bulk();
/// afterwards U is ready for panel() and bulk(). Peers read A and `factors` until they have met
/// this rank again.
template <BandReductionBackend B, Scalar T>
void apply_band_reduction(Rank<B>& rank, const BlockCyclic& layout, MatrixView<T> A,
                          MatrixView<T> factors, index_t bandwidth, MatrixView<T> U,
                          const BandBackTransformWork<T>& work) {
  BandBackTransform<B, T>(rank, layout, A, factors, bandwidth, U, work).run();
}

}  // namespace jaxmg
