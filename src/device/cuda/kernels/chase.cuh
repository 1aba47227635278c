// One thread block's work on a sweep of bulge chasing.
//
// Bound by latency: sweep s begins level k when sweep s - 1 has ended level k + 1, so that the
// critical path of a sweep is two levels, a letter to the next sweep, and a level's stores and the
// next one's loads.
#pragma once

#include "device/cuda/kernels/letters.cuh"
#include "device/cuda/kernels/reflection.cuh"
#include "device/cuda/kernels/warp.cuh"

namespace jaxmg::cuda {

/// A selection of values. (That of two elements of an array becomes one of addresses, and the array
/// goes to memory.)
template <class R>
R chosen(bool first, R a, R b) {
  return first ? a : b;
}
template <class R>
std::complex<R> chosen(bool first, std::complex<R> a, std::complex<R> b) {
  return {chosen(first, a.real(), b.real()), chosen(first, a.imag(), b.imag())};
}

/// The levels of a sweep (see bulge_chasing.hpp and the CPU's Sweep): of each the block B left of
/// the diagonal block D, up to NB x NB both, NB = 32 halves.
///
/// Workers, the first warps, hold both in registers: a warp chase_columns columns, a lane every
/// 32nd row of them, of D in the lower triangle. Each works the reflector out by itself, from the
/// same numbers in the same order, and keeps v and w where it alone reads them: so workers meet for
/// row sums only.
///
/// Of the level that follows in the sweep before, a level needs but the last row of its windows.
/// That comes by letter, ahead of all other stores. Two more warps keep waiting for memory from
/// the workers: the receiver takes letters, and knows how far the sweep before has come; the sender
/// writes letters, and tells the next sweep of a level once all of it is stored.
template <class D, int halves>
class Chase {
  using Shape = ChaseShape<halves>;
  static constexpr int NB = Shape::rows;
  static constexpr int columns = chase_columns;
  using R = real_t<D>;
  using W = wide_t<D>;

 public:
  Chase(MatrixView<D> band, std::uint64_t* letters, D* shared)
      : band_(band),
        bandwidth_(static_cast<int>(band.rows / 2)),
        ld_(static_cast<int>(band.ld - 1)),
        letters_(letters),
        lane_(lane_index()),
        first_column_(warp_index() * columns) {
    received_ = shared;
    sent_ = received_ + Shape::letter;
    B_rows_ = sent_ + Shape::letter;
    D_rows_ = B_rows_ + NB * Shape::workers;
    D_columns_ = D_rows_ + NB * Shape::workers;
    x_ = D_columns_ + NB;
    v_ = x_ + NB + (NB + 2 * columns) * warp_index();
    w_ = v_ + NB;
    sums_ = w_ + columns;
  }

  /// Sweep s, behind the one that tells its levels in *before, if there is one, and followed by
  /// another or not. Tells its own levels in *done. Reflector k goes to column first + k step of
  /// `reflectors`, if it has that.
  void sweep(index_t s, const int* before, int* done, bool followed, MatrixView<D> reflectors,
             index_t first, index_t step) {
    sweep_ = s;
    followed_ = followed;
    levels_ = levels(s);
    levels_before_ = before == nullptr ? 0 : levels(s - 1);
    if (warp_index() < Shape::workers) {
      work(reflectors, first, step);
    } else if (warp_index() == Shape::workers) {
      receive(before);
    } else {
      send(done);
    }
  }

 private:
  /// Where threads of a block meet. To come again, one meets all others at another place first.
  enum Meeting {
    window_is_there = 1,  ///< workers and receiver
    letter_is_there,      ///< workers and receiver
    B_is_summed,          ///< workers
    D_is_summed,          ///< workers and sender
    letter_is_written,    ///< workers and sender
    level_is_stored       ///< workers and sender
  };
  static constexpr int workers = Shape::workers * warp_size;
  static constexpr int workers_and_one_more = workers + warp_size;

  int levels(index_t sweep) const {
    return static_cast<int>((band_.cols - 1 - sweep + bandwidth_ - 1) / bandwidth_);
  }
  bool has_letter(int k) const { return k + 1 < levels_before_; }
  /// What sweep s tells of its level k. Whoever writes it anew, two sweeps later, follows the
  /// reader.
  std::uint64_t* letter(index_t s, int k) const {
    const index_t levels = (band_.cols + bandwidth_ - 1) / bandwidth_;
    return letters_ + (s % 2 * levels + k) * letter_words<D>(bandwidth_ + 1);
  }
  static unsigned number(index_t s) { return static_cast<unsigned>(s + 1); }

  // ---- The receiver and the sender --------------------------------------------------------------

  void receive(const int* before) {
    for (int k = 0; k < levels_; ++k) {
      if (lane_ == 0) {
        while (levels_before_ > 0 && load_acquire(before) < std::min(k + 1, levels_before_)) {
          pause();
        }
      }
      __syncwarp();
      meet(window_is_there, workers_and_one_more);
      if (has_letter(k)) {
        read_letter<Shape::letter>(letter(sweep_ - 1, k + 1), number(sweep_ - 1), received_,
                                   bandwidth_ + 1);
      }
      meet(letter_is_there, workers_and_one_more);
    }
  }

  void send(int* done) const {
    for (int k = 0; k < levels_; ++k) {
      meet(D_is_summed, workers_and_one_more);
      meet(letter_is_written, workers_and_one_more);
      write_letter(letter(sweep_, k), number(sweep_), sent_, bandwidth_ + 1);
      meet(level_is_stored, workers_and_one_more);
      if (lane_ == 0) store_release(done, k + 1);
    }
  }

  // ---- The workers ------------------------------------------------------------------------------

  void work(MatrixView<D> reflectors, index_t first, index_t step) {
    tau_ = 0;
    for (int k = 0; k < levels_; ++k) {
      place(k);
      meet(window_is_there, workers_and_one_more);
      load(has_letter(k) ? rows_ - 1 : rows_);
      meet(letter_is_there, workers_and_one_more);
      if (has_letter(k)) take_last_row();
      apply_right();
      annihilate();
      sum_left_and_both();
      meet(D_is_summed, workers_and_one_more);
      if (tau_ != 0) {
        apply_left_and_both();
        keep(reflectors, first + k * step);
      }
      put_first_row();
      arrive(letter_is_written, workers_and_one_more);
      store(followed_ && k > 0 ? 1 : 0);
      arrive(level_is_stored, workers_and_one_more);
    }
  }

  /// Where level k has its windows. At level 0 there is but the column to annihilate for B.
  void place(int k) {
    const index_t row = sweep_ + 1 + static_cast<index_t>(k) * bandwidth_;
    const index_t col = k == 0 ? sweep_ : row - bandwidth_;
    rows_ = static_cast<int>(std::min<index_t>(bandwidth_, band_.cols - row));
    cols_ = k == 0 ? 1 : bandwidth_;
    B_ = &band_(row - col, col) + lane_ + first_column_ * ld_;
    D_ = &band_(0, row) + lane_ + first_column_ * ld_;
  }

  int row(int h) const { return lane_ + h * warp_size; }
  int column(int c) const { return first_column_ + c; }

  /// f(c, h) for the elements (row(h), column(c)).
  template <class F>
  void for_each_element(F f) const {
#pragma unroll
    for (int c = 0; c < columns; ++c) {
#pragma unroll
      for (int h = 0; h < halves; ++h) f(c, h);
    }
  }
  bool is_lower(int c, int h) const { return column(c) <= row(h); }

  /// The windows' rows before `end`; zero beyond.
  void load(int end) {
    for_each_element([&](int c, int h) {
      const bool there = row(h) < end;
      b_[c][h] = there && column(c) < cols_ ? B_[h * warp_size + c * ld_] : D(0);
      d_[c][h] = there && is_lower(c, h) ? D_[h * warp_size + c * ld_] : D(0);
      if (column(c) == row(h)) d_[c][h] = D(real_part(d_[c][h]));
    });
  }
  /// From the letter: the first row of B and D in the sweep before. To the left of it in B, there
  /// is nothing but zeros.
  void take_last_row() {
    for_each_element([&](int c, int h) {
      if (row(h) != rows_ - 1) return;
      if (column(c) == cols_ - 1) b_[c][h] = received_[0];
      if (is_lower(c, h)) d_[c][h] = received_[1 + column(c)];
    });
  }
  /// For the letter.
  void put_first_row() const {
    if (lane_ > 0) return;
#pragma unroll
    for (int c = 0; c < columns; ++c) {
      if (column(c) < bandwidth_) sent_[column(c)] = b_[c][0];
    }
    if (first_column_ == 0) sent_[bandwidth_] = d_[0][0];
  }
  /// The windows' rows from `begin` on. The first is not stored where it went by letter: the next
  /// sweep, which stores it changed, may do so before.
  void store(int begin) const {
    for_each_element([&](int c, int h) {
      if (row(h) < begin || row(h) >= rows_) return;
      if (column(c) < cols_) B_[h * warp_size + c * ld_] = b_[c][h];
      if (is_lower(c, h)) D_[h * warp_size + c * ld_] = d_[c][h];
    });
  }
  void keep(MatrixView<D> reflectors, index_t at) const {
    if (at >= reflectors.cols || first_column_ > 0) return;
#pragma unroll
    for (int h = 0; h < halves; ++h) {
      if (row(h) < rows_) reflectors(row(h), at) = row(h) == 0 ? D(tau_) : v_of_row_[h];
    }
  }

  /// B := B H of the level before; x := B's first column, on all workers.
  void apply_right() {
    if (first_column_ == 0) {
#pragma unroll
      for (int h = 0; h < halves; ++h) x_[row(h)] = b_[0][h];
    }
    if (tau_ != 0) sum_rows(b_, B_rows_);
    meet(B_is_summed, workers);
    D w[halves];
#pragma unroll
    for (int h = 0; h < halves; ++h) {
      w[h] = tau_ == 0 ? D(0) : -tau_ * sum_of_rows(B_rows_, row(h));
      x_of_row_[h] = x_[row(h)] + w[h];  // v_0 = 1
    }
    if (tau_ == 0) return;  // all threads alike, as below
    for_each_element(
        [&](int c, int h) { b_[c][h] = plus_product(b_[c][h], w[h], conjugate(v_[column(c)])); });
  }

  /// The reflector of x, and B's first column.
  void annihilate() {
    __syncwarp();
    if (lane_ == 0) v_[0] = x_of_row_[0];
    __syncwarp();
    W head = W(v_[0]);
    double tail = tail_of(1), scale = 1;
    const double total = square_of(head) + tail;
    if (!(tail > 0 && total > 1e-200 && total < 1e200)) {
      double largest = 0, nonzero = 0;
#pragma unroll
      for (int h = 0; h < halves; ++h) {
        largest = std::max(largest, largest_part_of(W(x_of_row_[h])));
        if (row(h) > 0 && x_of_row_[h] != D(0)) nonzero = 1;
      }
      if (warp_largest(nonzero) == 0) {
        tau_ = 0;
        return;
      }
      scale = safe_scale(warp_largest(largest));
      head = scale * head;
      tail = tail_of(scale);
    }
    const Reflection<W> H = reflection_of(head, tail, scale);
    tau_ = static_cast<R>(H.tau);
    __syncwarp();
#pragma unroll
    for (int h = 0; h < halves; ++h) {
      v_of_row_[h] = row(h) == 0 ? D(1) : D(product_of(H.factor, scale * W(x_of_row_[h])));
      v_[row(h)] = v_of_row_[h];
      if (first_column_ == 0) b_[0][h] = row(h) == 0 ? D(H.beta) : D(0);
    }
    __syncwarp();
  }
  /// The sum of |scale x_i|^2 for i > 0.
  double tail_of(double scale) const {
    double tail = 0;
#pragma unroll
    for (int h = 0; h < halves; ++h) {
      if (row(h) > 0) tail += square_of(scale * W(x_of_row_[h]));
    }
    return warp_sum(tail);
  }

  /// v^H B for this warp's columns, and its parts of D v: the lower triangle by rows, the upper
  /// one, its mirror, by columns.
  void sum_left_and_both() {
    if (tau_ == 0) return;
    D sums[2 * columns] = {};
    for_each_element([&](int c, int h) {
      sums[c] = plus_product(sums[c], conjugate(v_of_row_[h]), b_[c][h]);
      if (column(c) < row(h)) {
        D& sum = sums[columns + c];
        sum = plus_product(sum, conjugate(d_[c][h]), v_of_row_[h]);
      }
    });
    sum_rows(d_, D_rows_);
    const D total = sum_over_lanes(sums);
    if (lane_ < columns) sums_[lane_] = tau_ * total;
    if (lane_ >= columns && lane_ < 2 * columns) D_columns_[column(lane_ - columns)] = total;
  }

  /// B := H B but for its first column, D := H D H.
  void apply_left_and_both() {
    for_each_element([&](int c, int h) {
      if (column(c) > 0) b_[c][h] = minus_product(b_[c][h], v_of_row_[h], sums_[c]);
    });
    // w = u - (tau / 2 v^H u) v, u = tau D v
    R dot = 0;
    D w[halves];
#pragma unroll
    for (int h = 0; h < halves; ++h) {
      w[h] = tau_ * (sum_of_rows(D_rows_, row(h)) + D_columns_[row(h)]);
      dot += real_part(product_of(conjugate(v_of_row_[h]), w[h]));
    }
    const R factor = tau_ * warp_sum(dot) / 2;
#pragma unroll
    for (int h = 0; h < halves; ++h) {
      w[h] = w[h] - factor * v_of_row_[h];
      const int c = row(h) - first_column_;
      if (c >= 0 && c < columns) w_[c] = w[h];
    }
    __syncwarp();
    for_each_element([&](int c, int h) {
      if (!is_lower(c, h)) return;  // there it stays 0
      D& d = d_[c][h];
      d = minus_product(d, v_of_row_[h], conjugate(w_[c]));
      d = minus_product(d, w[h], conjugate(v_[column(c)]));
      if (column(c) == row(h)) d = D(real_part(d));
    });
  }

  // ---- Sums -------------------------------------------------------------------------------------

  /// This warp's part of the row sums of a(i, j) v_j.
  void sum_rows(const D (&a)[columns][halves], D* parts) const {
    D sums[halves] = {};
    for_each_element(
        [&](int c, int h) { sums[h] = plus_product(sums[h], a[c][h], v_[column(c)]); });
#pragma unroll
    for (int h = 0; h < halves; ++h) parts[warp_index() * NB + row(h)] = sums[h];
  }
  /// All warps' parts of row i.
  static D sum_of_rows(const D* parts, int i) {
    D sum = parts[i];
#pragma unroll
    for (int k = 1; k < Shape::workers; ++k) sum = sum + parts[k * NB + i];
    return sum;
  }
  /// Each lane keeps every other of 2 * `kept` numbers and gives the others away.
  template <int kept>
  void halve(D (&a)[2 * columns], int mask) const {
    const bool odd = (lane_ & mask) != 0;
#pragma unroll
    for (int k = 0; k < kept; ++k) {
      const D one = a[2 * k], other = a[2 * k + 1];
      a[k] = chosen(odd, other, one) + from_lane(chosen(odd, one, other), mask);
    }
  }
  /// The sum over all lanes of a[lane % 16]: 16 exchanges for 16 sums.
  D sum_over_lanes(D (&a)[2 * columns]) const {
    static_assert(2 * columns == 16 && warp_size == 32);
    halve<8>(a, 1);
    halve<4>(a, 2);
    halve<2>(a, 4);
    halve<1>(a, 8);
    return a[0] + from_lane(a[0], 16);
  }

  MatrixView<D> band_;
  int bandwidth_;
  int ld_;  ///< from an element to its neighbour on the right
  std::uint64_t* letters_;
  int lane_, first_column_;  ///< of the thread, of its warp
  index_t sweep_ = 0;
  int levels_ = 0, levels_before_ = 0;
  bool followed_ = false;
  int rows_ = 0, cols_ = 0;        ///< of B; D has as many rows
  D *B_ = nullptr, *D_ = nullptr;  ///< this lane's first elements
  D b_[columns][halves], d_[columns][halves];
  D x_of_row_[halves], v_of_row_[halves];
  R tau_ = 0;
  // Shared: letters; sums that all read; x; and each worker's v, and w and v^H B of its columns.
  D *received_, *sent_, *B_rows_, *D_rows_, *D_columns_, *x_, *v_, *w_, *sums_;
};

}  // namespace jaxmg::cuda
