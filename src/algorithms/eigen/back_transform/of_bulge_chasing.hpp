// V := Q2 Z for the unitary factor of bulge chasing.
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
  /// n x k: where waves leave every other result, for k columns of V at a time.
  MatrixView<T> other;
};

/// The steps of bulge_back_transform().
template <class B, Scalar T>
requires BulgeChasingBackendFor<B, T>
class BulgeBackTransform {
 public:
  BulgeBackTransform(Rank<B>& rank, const BulgeSweeps& sweeps, index_t group,
                     MatrixView<const T> reflectors, const BulgeBackTransformWork<T>& work)
      : rank_(rank),
        sweeps_(sweeps),
        group_(group),
        reflectors_(reflectors),
        work_(work),
        chunks_(work.chunks),
        diamonds_(work.diamonds) {}

  template <class S>
  void run(const T* phases, MatrixView<const S> Z, MatrixView<T> V) {
    const Event ready = rank_.panel().record();
    for (auto* queue : {&rank_.bulk(), &rank_.ahead(), &rank_.copies()}) queue->wait(ready);
    B::template scale_rows<T, S>(rank_.bulk(), phases, Z, V);
    for (index_t c = sweeps_.chunks() - 1; c >= 0; --c) {
      const Received<Event, T> chunk = fetch(c);
      if (!V.empty()) multiply(c, chunk, V);
      chunks_.release(c, {rank_.ahead().record()});
    }
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

  /// V := the product of chunk c's reflectors times V. A number of waves is applied while the
  /// diamonds of those after them are formed.
  void multiply(index_t c, const Received<Event, T>& chunk, MatrixView<T> V) {
    const DiamondWaves waves(sweeps_.bandwidth(), sweeps_.sweeps(c), sweeps_.levels(c), group_);
    const MatrixView<T> rest = V.row_range(sweeps_.first(c), V.rows);
    const index_t width = waves.height() * waves.groups();
    const index_t at_a_time = work_.diamonds[0].cols / width;
    rank_.ahead().wait(chunk.ready);
    for (index_t begin = 0; begin < waves.waves(); begin += at_a_time, ++turn_) {
      const index_t end = std::min(begin + at_a_time, waves.waves());
      const MatrixView<T> diamonds =
          diamonds_.acquire(turn_, waves.height(), (end - begin) * width, rank_.ahead());
      B::template form_diamonds<T>(rank_.ahead(), waves, chunk.view, begin, diamonds);
      rank_.bulk().wait(rank_.ahead().record());
      for (index_t j = 0; j < V.cols; j += work_.other.cols) {
        const index_t columns = std::min(work_.other.cols, V.cols - j);
        apply_waves(waves, begin, diamonds, rest.column_range(j, j + columns),
                    work_.other.block(0, 0, rest.rows, columns));
      }
      diamonds_.release(turn_, {rank_.bulk().record()});
    }
  }

  /// The rows, of `order`, that wave t changes; none where it has no reflector.
  static IndexRange rows_of_wave(const DiamondWaves& waves, index_t t, index_t order) {
    const index_t first = waves.first_group(t), row = waves.row(t, first), size = waves.height();
    // The last one with a reflector, which has two rows at least, below a first row.
    const index_t left = std::max<index_t>(0, order - 2 - row);
    const index_t count = std::min(waves.end_group(t) - first, (left + size - 1) / size);
    return {row, std::min(row + count * size, order)};
  }

  /// Waves from `begin` on, as many as there are diamonds of. A product is not in place: it goes
  /// from V to `other` and back in turn, where the rows of one wave are what the next one finds.
  void apply_waves(const DiamondWaves& waves, index_t begin, MatrixView<const T> diamonds,
                   MatrixView<T> V, MatrixView<T> other) {
    const index_t size = waves.height(), width = size * waves.groups();
    IndexRange away{0, 0};  // rows that are in `other`
    for (index_t t = begin; (t - begin) * width < diamonds.cols; ++t) {
      const IndexRange rows = rows_of_wave(waves, t, V.rows);
      if (rows.begin >= rows.end) continue;
      const index_t column = (t - begin) * width + waves.first_group(t) * size;
      const MatrixView<const T> X = diamonds.column_range(column, diamonds.cols);
      const auto apply = [&](MatrixView<T> from, MatrixView<T> to) {
        B::template apply_diamonds<T>(rank_.bulk(), X, from.row_range(rows.begin, rows.end),
                                      to.row_range(rows.begin, rows.end));
      };
      if (away.begin == away.end) {
        apply(V, other);
        away = rows;
      } else {
        move(V, other, rows, away);
        apply(other, V);
        move(other, V, away, rows);
        away = {0, 0};
      }
    }
    move(other, V, away, {0, 0});
  }

  /// Those of `rows` that are not in `others`.
  void move(MatrixView<const T> from, MatrixView<T> to, IndexRange rows, IndexRange others) {
    const IndexRange above{rows.begin, std::min(rows.end, std::max(rows.begin, others.begin))};
    const IndexRange below{std::max(above.end, std::min(rows.end, others.end)), rows.end};
    for (const IndexRange part : {above, below}) {
      if (part.begin >= part.end) continue;
      B::template copy<T>(rank_.bulk(), from.row_range(part.begin, part.end),
                          to.row_range(part.begin, part.end));
    }
  }

  Rank<B>& rank_;
  const BulgeSweeps& sweeps_;
  const index_t group_;
  MatrixView<const T> reflectors_;
  const BulgeBackTransformWork<T>& work_;
  PanelRing<B, T> chunks_;
  PanelRing<B, T> diamonds_;
  index_t turn_ = 0;  ///< of the diamonds
};

/// V := Q2 Z for M = Q2 Tri Q2^H of bulge_chasing(): every rank its own m columns, m may differ or
/// be 0. Z, n x m, is real or of V's type, and may be V itself.
///
/// Q2 = H_1 H_2 .. diag(phases), so V's rows are scaled first and the reflectors of the last sweep
/// come next. Reflectors of `group` = g neighbouring sweeps and one level make a diamond of
/// b + g - 1 rows (DiamondWaves in distribution/bulge_sweeps.hpp has a picture and the order). Each
/// is formed explicitly, a square block X, and V's rows under it become X times them, all diamonds
/// of a wave in one batched product. Chunks come from their holders in reverse, one ahead. (Haidar,
/// Solca, Gates, Tomov, Schulthess and Dongarra, ISC 2013; there the diamonds stay factored.)
///
/// Flops (times 4 for complex): (b + g)^2 / (b g) n^2 m, which is least for g = b: 4 n^2 m, twice
/// what the reflectors would take one by one, and all in products with an inner size of 2 b. To
/// form the diamonds: (2 b + g) n^2 on every rank, 3 b / 4 m of the former for g = b. Bytes: V
/// passes n / b times, each time read and written once; of some b rows a wave, copies. On a GPU, at
/// b = 64 in float64, that is 16 flops a byte of memory: flops bound it, if a wave of a chunk has
/// diamonds enough, chunk / g, and k columns enough to keep the GPU busy.
///
/// Memory: 2 n chunk elements for chunks on their way, none where peers are read directly; for w
/// waves of diamonds, twice, 2 w (chunk / g) (b + g)^2; and n k for every other wave's result.
///
/// All ranks call, with the same `sweeps` and `group`. `reflectors` and `phases` as bulge_chasing()
/// leaves them, reflectors' ld the same on all ranks; they, Z, V and `work` must be ready for
/// rank.panel(); so is V then, and no peer reads this rank's reflectors any more.
template <class B, Scalar T, class S>
requires BulgeChasingBackendFor<B, T>
void bulge_back_transform(Rank<B>& rank, const BulgeSweeps& sweeps, index_t group,
                          MatrixView<const T> reflectors, const T* phases, MatrixView<const S> Z,
                          MatrixView<T> V, const BulgeBackTransformWork<T>& work) {
  BulgeBackTransform<B, T>(rank, sweeps, group, reflectors, work).run(phases, Z, V);
}

}  // namespace jaxmg
