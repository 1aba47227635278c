// Kernels of bulge chasing and of its back-transform.
//
// chase is bound by latency: the critical path is two levels and a hand-over between blocks
// a sweep. A level reads and writes 3 b^2 / 2 elements, which the L2 cache holds, and meets five
// times; some 2 us of a level and 0.6 us of a hand-over are expected at b = 64.
// form_diamonds is bound by the sums over a warp, 5 exchanges for each 2 b products.
#include "device/cuda/kernels/builtins.cuh"
#include "device/cuda/kernels/reflection.cuh"
#include "device/cuda/kernels/transpose.cuh"
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

/// One block's work on a level of a sweep (see bulge_chasing.hpp and the CPU's Sweep): the block B
/// left of the diagonal block D, up to NB x NB each, NB = 32 halves, in registers. Thread t has row
/// t mod NB of both, of the columns of slice t / NB; a warp has 32 rows of one slice.
///
/// Every warp works the reflector out by itself, from the same numbers in the same order, and keeps
/// v and w where it alone reads them: so all meet for sums over rows or columns only.
template <class D, int halves>
class Chase {
  using Shape = ChaseShape<halves>;
  static constexpr int NB = Shape::rows;
  using R = real_t<D>;
  using W = wide_t<D>;

 public:
  Chase(MatrixView<D> band, D* shared)
      : band_(band),
        bandwidth_(static_cast<int>(band.rows / 2)),
        lane_(lane_index()),
        row_(static_cast<int>(threadIdx.x) % NB),
        slice_(static_cast<int>(threadIdx.x) / NB),
        half_(row_ / warp_size) {
    B_rows_ = shared;
    D_rows_ = B_rows_ + NB * Shape::slices;
    B_columns_ = D_rows_ + NB * Shape::slices;
    D_columns_ = B_columns_ + NB * Shape::halves;
    x_ = D_columns_ + NB * Shape::halves;
    v_ = x_ + NB + NB * warp_index();
    w_ = v_ + NB * Shape::warps;
  }

  int levels(index_t sweep) const {
    return static_cast<int>((band_.cols - 1 - sweep + bandwidth_ - 1) / bandwidth_);
  }

  /// Sweep s, behind the one that tells its levels in *before, if there is one. Tells its own in
  /// *done. Reflector k goes to column first + k step of `reflectors`, if it has that.
  void sweep(index_t s, const int* before, int* done, MatrixView<D> reflectors, index_t first,
             index_t step) {
    tau_ = 0;
    const int count = levels(s), count_before = before == nullptr ? 0 : levels(s - 1);
    for (int k = 0; k < count; ++k) {
      place(s, k);
      // The sweep before needs but the last row of these windows in its level k + 1.
      wait_for(before, std::min(k + 1, count_before));
      load_all_but_the_last_row();
      wait_for(before, std::min(k + 2, count_before));
      if (row_ == rows_ - 1) load();
      const bool changed = tau_ != 0;
      apply_right();
      annihilate();
      if (tau_ != 0) {
        apply_left_and_both();
        keep(reflectors, first + k * step);
      }
      if (changed || tau_ != 0) store();
      __syncthreads();
      if (threadIdx.x == 0) store_release(done, k + 1);
    }
  }

 private:
  int column(int c) const { return slice_ * columns_each + c; }

  /// Where level k has its windows. At level 0 there is but the column to annihilate for B.
  void place(index_t s, int k) {
    const index_t row = s + 1 + static_cast<index_t>(k) * bandwidth_;
    const index_t col = k == 0 ? s : row - bandwidth_;
    rows_ = static_cast<int>(std::min<index_t>(bandwidth_, band_.cols - row));
    cols_ = k == 0 ? 1 : bandwidth_;
    B_ = &band_(row - col, col);
    D_ = &band_(0, row);
  }

  void wait_for(const int* before, int needed) const {
    if (before != nullptr && threadIdx.x == 0) {
      while (load_acquire(before) < needed) pause();
    }
    __syncthreads();
  }

  void load() {
    const index_t ld = band_.ld - 1;
#pragma unroll
    for (int c = 0; c < columns_each; ++c) {
      const int j = column(c);
      if (j < cols_) b_[c] = B_[row_ + j * ld];
      if (j < row_) d_[c] = D_[row_ + j * ld];
      if (j == row_) d_[c] = D(real_part(D_[row_ + j * ld]));
    }
  }
  void load_all_but_the_last_row() {
#pragma unroll
    for (int c = 0; c < columns_each; ++c) b_[c] = d_[c] = D(0);
    if (row_ < rows_ - 1) load();
  }
  void store() const {
    if (row_ >= rows_) return;
    const index_t ld = band_.ld - 1;
#pragma unroll
    for (int c = 0; c < columns_each; ++c) {
      const int j = column(c);
      if (j < cols_) B_[row_ + j * ld] = b_[c];
      if (j <= row_ && tau_ != 0) D_[row_ + j * ld] = d_[c];
    }
  }
  void keep(MatrixView<D> reflectors, index_t at) const {
    if (at >= reflectors.cols || slice_ != 0 || row_ >= rows_) return;
    reflectors(row_, at) = row_ == 0 ? D(tau_) : own_v_;
  }

  /// B := B H of the level before.
  void apply_right() {
    if (tau_ == 0) return;  // all threads alike, as below
    D part{};
#pragma unroll
    for (int c = 0; c < columns_each; ++c) part = plus_product(part, b_[c], v_[column(c)]);
    B_rows_[slice_ * NB + row_] = part;
    __syncthreads();
    const D w = -tau_ * sum_of(B_rows_, Shape::slices, row_);
#pragma unroll
    for (int c = 0; c < columns_each; ++c) {
      b_[c] = plus_product(b_[c], w, conjugate(v_[column(c)]));
    }
  }

  /// The reflector of B's first column.
  void annihilate() {
    if (slice_ == 0) x_[row_] = b_[0];
    __syncthreads();
    W head = W(x_[0]);
    double tail = tail_of(1), scale = 1;
    const double total = square_of(head) + tail;
    if (!(tail > 0 && total > 1e-200 && total < 1e200)) {
      double largest = 0, nonzero = 0;
#pragma unroll
      for (int h = 0; h < Shape::halves; ++h) {
        const int i = lane_ + h * warp_size;
        largest = std::max(largest, largest_part_of(W(x_[i])));
        if (i > 0 && x_[i] != D(0)) nonzero = 1;
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
#pragma unroll
    for (int h = 0; h < Shape::halves; ++h) {
      const int i = lane_ + h * warp_size;
      v_[i] = i == 0 ? D(1) : D(product_of(H.factor, scale * W(x_[i])));
    }
    __syncwarp();
    own_v_ = v_[row_];
    tau_ = static_cast<R>(H.tau);
    if (slice_ == 0) b_[0] = row_ == 0 ? D(H.beta) : D(0);
  }
  /// The sum of |scale x_i|^2 for i > 0.
  double tail_of(double scale) const {
    double tail = 0;
#pragma unroll
    for (int h = 0; h < Shape::halves; ++h) {
      const int i = lane_ + h * warp_size;
      if (i > 0) tail += square_of(scale * W(x_[i]));
    }
    return warp_sum(tail);
  }

  /// B := H B but for its first column, D := H D H.
  void apply_left_and_both() {
    D products[columns_each];
#pragma unroll
    for (int c = 0; c < columns_each; ++c) products[c] = product_of(conjugate(own_v_), b_[c]);
    sum_columns(products, B_columns_ + half_ * NB);
    // D v: the lower triangle by rows, the upper one, its mirror, by columns.
    D part{};
#pragma unroll
    for (int c = 0; c < columns_each; ++c) {
      part = plus_product(part, d_[c], v_[column(c)]);
      products[c] = column(c) < row_ ? product_of(conjugate(d_[c]), own_v_) : D(0);
    }
    D_rows_[slice_ * NB + row_] = part;
    sum_columns(products, D_columns_ + half_ * NB);
    __syncthreads();

    const D tau_v = tau_ * own_v_;
#pragma unroll
    for (int c = 0; c < columns_each; ++c) {
      const int j = column(c);
      if (j > 0) b_[c] = minus_product(b_[c], tau_v, sum_of(B_columns_, Shape::halves, j));
    }
    // w = u - (tau / 2 v^H u) v, u = tau D v
    R dot = 0;
#pragma unroll
    for (int h = 0; h < Shape::halves; ++h) {
      const int i = lane_ + h * warp_size;
      w_[i] = tau_ * (sum_of(D_rows_, Shape::slices, i) + sum_of(D_columns_, Shape::halves, i));
      dot += real_part(product_of(conjugate(v_[i]), w_[i]));
    }
    const R factor = tau_ * warp_sum(dot) / 2;
#pragma unroll
    for (int h = 0; h < Shape::halves; ++h) {
      const int i = lane_ + h * warp_size;
      w_[i] = w_[i] - factor * v_[i];
    }
    __syncwarp();
    const D own_w = w_[row_];
#pragma unroll
    for (int c = 0; c < columns_each; ++c) {
      const int j = column(c);
      if (j > row_) continue;
      d_[c] = minus_product(d_[c], own_v_, conjugate(w_[j]));
      d_[c] = minus_product(d_[c], own_w, conjugate(v_[j]));
      if (j == row_) d_[c] = D(real_part(d_[c]));
    }
  }

  /// The sum of parts of number i.
  static D sum_of(const D* parts, int count, int i) {
    D sum = parts[i];
#pragma unroll
    for (int k = 1; k < count; ++k) sum = sum + parts[k * NB + i];
    return sum;
  }
  /// Each lane keeps every other of 2 * `kept` numbers and gives the others away.
  template <int kept>
  void halve(D (&a)[columns_each], int mask) const {
    const bool odd = (lane_ & mask) != 0;
#pragma unroll
    for (int k = 0; k < kept; ++k) {
      const D one = a[2 * k], other = a[2 * k + 1];
      a[k] = chosen(odd, other, one) + from_lane(chosen(odd, one, other), mask);
    }
  }
  /// out[j] := the sum of a over the warp's rows, for the warp's columns j: 16 exchanges for 16
  /// sums.
  void sum_columns(D (&a)[columns_each], D* out) const {
    static_assert(columns_each == 16 && warp_size == 32);
    halve<8>(a, 1);
    halve<4>(a, 2);
    halve<2>(a, 4);
    halve<1>(a, 8);
    const D total = a[0] + from_lane(a[0], 16);
    if (lane_ < columns_each) out[column(lane_)] = total;
  }

  MatrixView<D> band_;
  int bandwidth_;
  int lane_, row_, slice_, half_;
  int rows_ = 0, cols_ = 0;  ///< of B; D has as many rows
  D *B_ = nullptr, *D_ = nullptr;
  D b_[columns_each], d_[columns_each];
  R tau_ = 0;
  D own_v_ = D(0);
  // Shared: sums that all read; x; and each warp's v and w.
  D *B_rows_, *D_rows_, *B_columns_, *D_columns_, *x_, *v_, *w_;
};

/// See contract_bulge_chasing.hpp. progress[0 .. sweeps] is 0 before, `reflectors` as well.
template <class D, int halves>
__global__ void __launch_bounds__(ChaseShape<halves>::block)
    chase(MatrixView<D> band, index_t first_sweep, int sweeps, MatrixView<D> reflectors,
          int* progress) {
  D* const shared = shared_memory<D>();
  int* const ticket = reinterpret_cast<int*>(shared + ChaseShape<halves>::elements);
  Chase<D, halves> work(band, shared);
  while (true) {
    if (threadIdx.x == 0) *ticket = atomicAdd(progress + sweeps, 1);
    __syncthreads();
    const int s = *ticket;
    __syncthreads();
    if (s >= sweeps) return;
    work.sweep(first_sweep + s, s > 0 ? progress + s - 1 : nullptr, progress + s, reflectors, s,
               sweeps);
  }
}

// ---- The tridiagonal matrix ---------------------------------------------------------------------

/// |a|, without overflow
template <class R>
R modulus_of(R a) {
  return std::abs(a);
}
template <class R>
R modulus_of(std::complex<R> a) {
  return std::hypot(a.real(), a.imag());
}
/// p / |p|
template <class D>
D normalised(D p) {
  return p / modulus_of(p);
}

/// What phases[i + 1] is of phases[i].
template <class D>
D phase_step(MatrixView<const D> band, index_t i) {
  const D below = band(1, i);
  const auto e = modulus_of(below);
  return e == 0 ? D(1) : normalised(below / e);
}

/// By one block: each thread a range of rows; products over ranges are scanned in shared memory.
template <class D>
__global__ void extract_tridiagonal(MatrixView<const D> band, real_t<D>* d, real_t<D>* e,
                                    D* phases) {
  const index_t n = band.cols;
  const int count = static_cast<int>(blockDim.x), me = static_cast<int>(threadIdx.x);
  for (index_t i = me; i < n; i += count) {
    d[i] = real_part(band(0, i));
    if (i + 1 < n) e[i] = modulus_of(band(1, i));
  }
  if (phases == nullptr) return;
  D* const products = shared_memory<D>();
  const index_t length = (n + count - 1) / count;
  const index_t begin = std::min(me * length, n), end = std::min(begin + length, n);
  D product = D(1);
  for (index_t i = begin; i < end && i + 1 < n; ++i) {
    product = normalised(product_of(product, phase_step(band, i)));
  }
  products[me] = product;
  __syncthreads();
  for (int distance = 1; distance < count; distance *= 2) {
    const D mine = products[me], before = me >= distance ? products[me - distance] : D(0);
    __syncthreads();
    if (me >= distance) products[me] = normalised(product_of(before, mine));
    __syncthreads();
  }
  D phase = me > 0 ? products[me - 1] : D(1);
  for (index_t i = begin; i < end; ++i) {
    phases[i] = phase;
    if (i + 1 < n) phase = normalised(product_of(phase, phase_step(band, i)));
  }
}

template <class T, class S>
__global__ void scaled_adjoint(const T* phases, MatrixView<const S> Z, MatrixView<T> U) {
  transpose(Z, U, [=](S z, index_t row) { return conjugate(product_of(phases[row], T(z))); });
}

// ---- Diamonds -----------------------------------------------------------------------------------

/// A block (G, t - first_wave, part of the columns) of the grid: columns of the product of the
/// reflectors of group G at its level in wave t, from the last reflector to the first. A lane has
/// `H` rows, 32 apart; heights are up to 32 H.
template <class D, int H>
__global__ void form_diamonds(Diamonds waves, MatrixView<const D> reflectors, index_t first_wave,
                              MatrixView<D> diamonds) {
  const index_t G = blockIdx.x;
  const index_t level = first_wave + blockIdx.y - (waves.groups - 1 - G);
  if (level < 0 || level >= waves.levels) return;
  const int b = static_cast<int>(waves.bandwidth);
  const int size = static_cast<int>(waves.bandwidth + waves.group);
  const int count = static_cast<int>(std::min(waves.group, waves.sweeps - G * waves.group));
  const int first = (static_cast<int>(blockIdx.z) * diamond_warps + warp_index()) * diamond_columns;
  if (first >= size) return;
  const D* const V = &reflectors(0, G * waves.group + waves.sweeps * level);
  const MatrixView<D> X{&diamonds(0, (blockIdx.y * waves.groups + G) * size), size, size,
                        diamonds.ld};

  D x[diamond_columns][H];
#pragma unroll
  for (int c = 0; c < diamond_columns; ++c) {
#pragma unroll
    for (int h = 0; h < H; ++h) {
      x[c][h] = D(lane_index() + h * warp_size == first + c ? 1 : 0);
    }
  }
  // Reflector j acts from row j + 1 on, and changes no column before that.
  for (int j = std::min(count, first + diamond_columns - 1) - 1; j >= 0; --j) {
    const D* const column = V + j * reflectors.ld;
    const auto tau = real_part(column[0]);
    if (tau == 0) continue;
    D v[H];
#pragma unroll
    for (int h = 0; h < H; ++h) {
      const int i = lane_index() + h * warp_size - j - 1;
      v[h] = i > 0 && i < b ? column[i] : D(i == 0 ? 1 : 0);
    }
#pragma unroll
    for (int c = 0; c < diamond_columns; ++c) {
      D product{};
#pragma unroll
      for (int h = 0; h < H; ++h) product = plus_product(product, conjugate(v[h]), x[c][h]);
      product = tau * warp_sum(product);
#pragma unroll
      for (int h = 0; h < H; ++h) x[c][h] = minus_product(x[c][h], v[h], product);
    }
  }
#pragma unroll
  for (int c = 0; c < diamond_columns; ++c) {
#pragma unroll
    for (int h = 0; h < H; ++h) {
      const int i = lane_index() + h * warp_size;
      if (i < size && first + c < size) X(i, first + c) = x[c][h];
    }
  }
}

#define JAXMG_INSTANTIATE_CHASE(T, halves) \
  template __global__ void chase<T, halves>(MatrixView<T>, index_t, int, MatrixView<T>, int*);
#define JAXMG_INSTANTIATE_DIAMONDS(T, H)                                               \
  template __global__ void form_diamonds<T, H>(Diamonds, MatrixView<const T>, index_t, \
                                               MatrixView<T>);
#define JAXMG_INSTANTIATE(T)                                                                     \
  JAXMG_INSTANTIATE_CHASE(T, 1)                                                                  \
  JAXMG_INSTANTIATE_CHASE(T, 2)                                                                  \
  JAXMG_INSTANTIATE_DIAMONDS(T, 2)                                                               \
  JAXMG_INSTANTIATE_DIAMONDS(T, 4)                                                               \
  JAXMG_INSTANTIATE_DIAMONDS(T, 8)                                                               \
  template __global__ void extract_tridiagonal(MatrixView<const T>, real_t<T>*, real_t<T>*, T*); \
  template __global__ void scaled_adjoint(const T*, MatrixView<const T>, MatrixView<T>);
JAXMG_INSTANTIATE(float)
JAXMG_INSTANTIATE(double)
JAXMG_INSTANTIATE(std::complex<float>)
JAXMG_INSTANTIATE(std::complex<double>)
template __global__ void scaled_adjoint(const std::complex<float>*, MatrixView<const float>,
                                        MatrixView<std::complex<float>>);
template __global__ void scaled_adjoint(const std::complex<double>*, MatrixView<const double>,
                                        MatrixView<std::complex<double>>);

}  // namespace jaxmg::cuda
