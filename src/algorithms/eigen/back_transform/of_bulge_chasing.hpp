// V := Q2 Z for the unitary factor of bulge chasing, as V^H.
#pragma once

#include <algorithm>

#include "algorithms/panel_ring.hpp"
#include "device/contract_bulge_chasing.hpp"
#include "distribution/band_panels.hpp"
#include "team/rank.hpp"

namespace jaxmg {

/// Scratch of bulge_back_transform(), all of it in this rank's memory.
template <Scalar T>
struct BulgeBackTransformWork {
  /// b x most_columns() each; empty where peers' chunks are read in place.
  PanelStorage<T> chunks;
  /// height x (height groups w) each, for the diamonds of w waves at a time.
  PanelStorage<T> diamonds;
};

/// The steps of bulge_back_transform().
template <class B, Scalar T>
requires BulgeChasingBackendFor<B, T>
class BulgeBackTransform {
 public:
  BulgeBackTransform(Rank<B>& rank, const BulgeSweeps& sweeps, index_t group,
                     MatrixView<const T> reflectors, MatrixView<T> U, MatrixView<T> other,
                     const BulgeBackTransformWork<T>& work)
      : rank_(rank),
        sweeps_(sweeps),
        group_(group),
        reflectors_(reflectors),
        U_(U),
        other_(other),
        work_(work),
        chunks_(work.chunks),
        diamonds_(work.diamonds) {}

  template <class S>
  void run(const T* phases, MatrixView<const S> Z) {
    const Event ready = rank_.panel().record();
    for (auto* queue : {&rank_.bulk(), &rank_.ahead(), &rank_.copies()}) queue->wait(ready);
    B::template scaled_adjoint<T, S>(rank_.bulk(), phases, Z, U_);
    for (index_t c = sweeps_.chunks() - 1; c >= 0; --c) {
      const Received<Event, T> chunk = fetch(c);
      if (!U_.empty()) multiply(c, chunk);
      chunks_.release(c, {rank_.ahead().record()});
    }
    move(other_, U_, away_, {0, 0});
    for (auto* queue : {&rank_.bulk(), &rank_.ahead(), &rank_.copies()}) {
      rank_.panel().wait(queue->record());
    }
    rank_.barrier(rank_.panel());  // nobody reads a peer's reflectors any more
  }

 private:
  using Event = typename B::Event;

  /// Chunk c, wherever rank.ahead() may read it.
  Received<Event, T> fetch(index_t c) {
    MatrixView<const T> mine(nullptr, reflectors_.rows, sweeps_.columns(c), reflectors_.ld);
    if (sweeps_.holder(c) == rank_.index()) {
      const index_t begin = sweeps_.column_offset(c);
      mine = reflectors_.column_range(begin, begin + mine.cols);
    }
    const MatrixView<T> staging = chunks_.acquire(c, mine.rows, mine.cols, rank_.copies());
    return rank_.template broadcast<T>(sweeps_.holder(c), rank_.panel(), mine, staging);
  }

  /// U := U times the adjoint of the product of chunk c's reflectors. A number of waves is applied
  /// while the diamonds of those after them are formed.
  void multiply(index_t c, const Received<Event, T>& chunk) {
    const DiamondWaves waves(sweeps_.bandwidth(), sweeps_.sweeps(c), sweeps_.levels(c), group_);
    const index_t width = waves.height() * waves.groups();
    const index_t at_a_time = work_.diamonds[0].cols / width;
    rank_.ahead().wait(chunk.ready);
    for (index_t begin = 0; begin < waves.waves(); begin += at_a_time, ++turn_) {
      const index_t end = std::min(begin + at_a_time, waves.waves());
      const MatrixView<T> diamonds =
          diamonds_.acquire(turn_, waves.height(), (end - begin) * width, rank_.ahead());
      B::template form_diamonds<T>(rank_.ahead(), waves, chunk.view, begin, diamonds);
      rank_.bulk().wait(rank_.ahead().record());
      for (index_t t = begin; t < end; ++t) {
        const index_t column = (t - begin) * width + waves.first_group(t) * waves.height();
        apply_wave(columns_of_wave(waves, t, sweeps_.first(c)),
                   diamonds.column_range(column, diamonds.cols));
      }
      diamonds_.release(turn_, {rank_.bulk().record()});
    }
  }

  /// The columns of U that wave t of a chunk changes, those before `first` being none of its
  /// chunk's; none where it has no reflector.
  IndexRange columns_of_wave(const DiamondWaves& waves, index_t t, index_t first) const {
    const index_t group = waves.first_group(t), size = waves.height();
    const index_t begin = first + waves.row(t, group);
    // The last one with a reflector, which has two columns at least, after a first one.
    const index_t left = std::max<index_t>(0, U_.cols - 2 - begin);
    const index_t count = std::min(waves.end_group(t) - group, (left + size - 1) / size);
    return {begin, std::min(begin + count * size, U_.cols)};
  }

  /// A product is not in place: it goes from U to `other` and back in turn, where the columns of
  /// one wave are what the next one finds.
  void apply_wave(IndexRange columns, MatrixView<const T> diamonds) {
    if (columns.begin >= columns.end) return;
    const bool is_away = away_.begin < away_.end;
    const MatrixView<T> from = is_away ? other_ : U_, to = is_away ? U_ : other_;
    if (is_away) move(U_, other_, columns, away_);
    B::template apply_diamonds<T>(rank_.bulk(), diamonds,
                                  from.column_range(columns.begin, columns.end),
                                  to.column_range(columns.begin, columns.end));
    if (is_away) move(other_, U_, away_, columns);
    away_ = is_away ? IndexRange{0, 0} : columns;
  }

  /// Those of `columns` that are not in `others`.
  void move(MatrixView<const T> from, MatrixView<T> to, IndexRange columns, IndexRange others) {
    const IndexRange before{columns.begin,
                            std::min(columns.end, std::max(columns.begin, others.begin))};
    const IndexRange after{std::max(before.end, std::min(columns.end, others.end)), columns.end};
    for (const IndexRange part : {before, after}) {
      if (part.begin >= part.end) continue;
      B::template copy<T>(rank_.bulk(), from.column_range(part.begin, part.end),
                          to.column_range(part.begin, part.end));
    }
  }

  Rank<B>& rank_;
  const BulgeSweeps& sweeps_;
  const index_t group_;
  MatrixView<const T> reflectors_;
  MatrixView<T> U_;
  MatrixView<T> other_;
  const BulgeBackTransformWork<T>& work_;
  PanelRing<B, T> chunks_;
  PanelRing<B, T> diamonds_;
  index_t turn_ = 0;       ///< of the diamonds
  IndexRange away_{0, 0};  ///< columns of U that are in `other`
};

/// U := (Q2 Z)^H for M = Q2 Tri Q2^H of bulge_chasing(): every rank its own m rows, m may differ or
/// be 0. Z, n x m, is real or of U's type. U and `other` are m x n; `other`'s storage may be Z's.
///
/// Q2 = H_1 H_2 .. diag(phases), so Z's rows are scaled first and the reflectors of the last sweep
/// come next. Reflectors of `group` = g neighbouring sweeps and one level make a diamond of
/// b + g - 1 rows (DiamondWaves in distribution/bulge_sweeps.hpp has a picture and the order). Each
/// is formed explicitly, a square block X, and U's columns become themselves times X^H, all
/// diamonds of a wave in one batched product. Chunks come from their holders in reverse, one ahead.
/// (Haidar, Solca, Gates, Tomov, Schulthess and Dongarra, ISC 2013; there the diamonds stay
/// factored.)
///
/// Flops (times 4 for complex): (b + g)^2 / (b g) n^2 m, which is least for g = b: 4 n^2 m, twice
/// what the reflectors would take one by one, and all in products with an inner size of 2 b. To
/// form the diamonds: (2 b + g) n^2 on every rank, 3 b / 4 m of the former for g = b. Bytes: U
/// passes n / b times, each time read and written once; of some b columns a wave, copies. On a GPU,
/// at b = 64 in float64, that is 16 flops a byte of memory: flops bound it, if a wave of a chunk
/// has diamonds enough, chunk / g, to keep the GPU busy. U rather than V, since a wave's operands
/// lie in one piece, and cuBLAS's products are faster so: 43 TF and 36 on an H200, m = 8192, g = b
/// = 64.
///
/// Memory: 2 n chunk elements for chunks on their way, none where peers are read directly; for w
/// waves of diamonds, twice, 2 w (chunk / g) (b + g)^2; and m n for every other wave's result.
///
/// All ranks call, with the same `sweeps` and `group`. `reflectors` and `phases` as bulge_chasing()
/// leaves them, reflectors' ld the same on all ranks; they, Z, U, `other` and `work` must be ready
/// for rank.panel(); so is U then, and no peer reads this rank's reflectors any more.
template <class B, Scalar T, class S>
requires BulgeChasingBackendFor<B, T>
void bulge_back_transform(Rank<B>& rank, const BulgeSweeps& sweeps, index_t group,
                          MatrixView<const T> reflectors, const T* phases, MatrixView<const S> Z,
                          MatrixView<T> U, MatrixView<T> other,
                          const BulgeBackTransformWork<T>& work) {
  BulgeBackTransform<B, T>(rank, sweeps, group, reflectors, U, other, work).run(phases, Z);
}

}  // namespace jaxmg
