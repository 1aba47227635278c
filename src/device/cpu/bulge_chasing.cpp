// Operations of bulge chasing on the CPU. The kernels are loops over columns that fit a cache: BLAS
// calls on b x b blocks cost more than they save.
#include <cmath>
#include <limits>
#include <utility>
#include <vector>

#include "device/cpu/backend.hpp"
#include "device/cpu/blas.hpp"
#include "device/cpu/sanitizer.hpp"

namespace jaxmg::cpu {
namespace {

/// a b; the language's complex product looks for infinities, and a loop over it is no vector loop.
template <Scalar T>
T product(T a, T b) {
  if constexpr (is_complex_v<T>) {
    return {a.real() * b.real() - a.imag() * b.imag(), a.real() * b.imag() + a.imag() * b.real()};
  } else {
    return a * b;
  }
}

/// y += alpha x
template <Scalar T>
void axpy(index_t n, T alpha, const T* x, T* y) {
  for (index_t i = 0; i < n; ++i) y[i] += product(alpha, x[i]);
}

/// x^H y, in four sums, which the processor works on side by side.
template <Scalar T>
T dot(index_t n, const T* x, const T* y) {
  constexpr index_t sums = 4;
  T sum[sums] = {};
  index_t i = 0;
  for (; i + sums <= n; i += sums) {
    for (index_t j = 0; j < sums; ++j) sum[j] += product(conjugate(x[i + j]), y[i + j]);
  }
  for (; i < n; ++i) sum[0] += product(conjugate(x[i]), y[i]);
  return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

/// H = I - tau v v^H, v(0) = 1, tau real: unitary and Hermitian.
template <Scalar T>
struct Reflector {
  std::vector<T> v;
  real_t<T> tau = 0;

  explicit Reflector(index_t longest) : v(static_cast<std::size_t>(longest)) {}
  const T* data() const { return v.data(); }
};

/// H with H x = beta e_1, |beta| = ||x||; x becomes H x. (LAPACK's larfg with a real tau, and so a
/// complex beta.) x is scaled by its largest entry, or H would not be unitary where squares
/// underflow. tau = 0 where x is a multiple of e_1 already. NaN is not lost.
template <Scalar T>
void make_reflector(index_t n, T* x, Reflector<T>& H) {
  using R = real_t<T>;
  R largest = 0;
  bool any = false;
  for (index_t i = 1; i < n; ++i) any = any || x[i] != T(0);
  H.tau = 0;
  if (!any) return;
  for (index_t i = 0; i < n; ++i) largest = std::max(largest, std::abs(x[i]));

  T* const v = H.v.data();
  R squares = 0;
  for (index_t i = 0; i < n; ++i) {
    v[i] = x[i] / largest;
    squares += real_part(product(conjugate(v[i]), v[i]));
  }
  const R norm = std::sqrt(squares), first = std::abs(v[0]);
  // A quotient of denormal numbers would not have modulus 1.
  constexpr R tiny = std::numeric_limits<R>::min() / std::numeric_limits<R>::epsilon();
  const T phase = first > tiny ? v[0] / first : T(1);
  H.tau = (first + norm) / norm;
  const T factor = conjugate(phase) / (first + norm);
  v[0] = T(1);
  for (index_t i = 1; i < n; ++i) v[i] = product(v[i], factor);
  x[0] = -phase * norm * largest;
  std::fill_n(x + 1, n - 1, T(0));
}

/// C := H C
template <Scalar T>
void apply_left(const Reflector<T>& H, MatrixView<T> C) {
  if (H.tau == 0) return;
  for (index_t j = 0; j < C.cols; ++j) {
    axpy(C.rows, -H.tau * dot(C.rows, H.data(), &C(0, j)), H.data(), &C(0, j));
  }
}

/// C := C H. w: scratch of C.rows.
template <Scalar T>
void apply_right(const Reflector<T>& H, MatrixView<T> C, T* w) {
  if (H.tau == 0) return;
  std::fill_n(w, C.rows, T(0));
  for (index_t j = 0; j < C.cols; ++j) axpy(C.rows, H.data()[j], &C(0, j), w);
  for (index_t j = 0; j < C.cols; ++j) {
    axpy(C.rows, -H.tau * conjugate(H.data()[j]), w, &C(0, j));
  }
}

/// D := H D H for a Hermitian D of which the lower triangle is stored:
/// D - v w^H - w v^H with w = u - (tau v^H u / 2) v, u = tau D v.
template <Scalar T>
void apply_both(const Reflector<T>& H, MatrixView<T> D, T* w) {
  if (H.tau == 0) return;
  const index_t n = D.rows;
  const T* const v = H.data();
  std::fill_n(w, n, T(0));
  for (index_t j = 0; j < n; ++j) {
    const index_t below = n - j - 1;
    w[j] += real_part(D(j, j)) * v[j] + dot(below, &D(j, j) + 1, v + j + 1);
    axpy(below, v[j], &D(j, j) + 1, w + j + 1);
  }
  for (index_t i = 0; i < n; ++i) w[i] *= H.tau;
  axpy(n, T(-H.tau * real_part(dot(n, v, w)) / 2), v, w);
  for (index_t j = 0; j < n; ++j) {
    axpy(n - j, -conjugate(w[j]), v + j, &D(j, j));
    axpy(n - j, -conjugate(v[j]), w + j, &D(j, j));
    D(j, j) = T(real_part(D(j, j)));
  }
}

/// One sweep, level by level. A window of the lower triangle is a matrix in the band's own storage,
/// one element less from column to column.
template <Scalar T>
class Sweep {
 public:
  Sweep(MatrixView<T> band, index_t s)
      : band_(band),
        bandwidth_(band.rows / 2),
        s_(s),
        H_(bandwidth_),
        scratch_(static_cast<std::size_t>(bandwidth_)) {}

  /// Levels, the last one of which may have one row, and then no reflector.
  index_t levels() const { return (band_.cols - 1 - s_ + bandwidth_ - 1) / bandwidth_; }

  /// Level k, after all before it.
  void step(index_t k) {
    const index_t row = s_ + 1 + k * bandwidth_, rows = rows_of(k);
    if (k == 0) {
      make_reflector(rows, &band_(1, s_), H_);
    } else {
      // B := B H of the level before; its first column annihilated; the others likewise.
      const MatrixView<T> B = window(row, row - bandwidth_, rows, bandwidth_);
      apply_right(H_, B, scratch_.data());
      make_reflector(rows, &B(0, 0), H_);
      apply_left(H_, B.column_range(1, bandwidth_));
    }
    apply_both(H_, window(row, row, rows, rows), scratch_.data());
  }

  /// The reflector of level k, which step() has just made.
  void keep(index_t k, MatrixView<T> column) const {
    std::fill_n(column.data, column.rows, T(0));
    if (H_.tau == 0) return;
    std::copy_n(H_.data(), rows_of(k), column.data);
    column(0, 0) = T(H_.tau);
  }

 private:
  index_t rows_of(index_t k) const {
    return std::min(bandwidth_, band_.cols - (s_ + 1 + k * bandwidth_));
  }
  MatrixView<T> window(index_t row, index_t col, index_t rows, index_t cols) const {
    return {&band_(row - col, col), rows, cols, band_.ld - 1};
  }

  MatrixView<T> band_;
  index_t bandwidth_;
  index_t s_;
  Reflector<T> H_;
  std::vector<T> scratch_;
};

/// Sweeps that follow each other through the band: it passes a cache once for all of them.
constexpr index_t sweeps_in_flight = 8;

/// step(sweep, level) for each level of neighbouring sweeps, each as close behind the one before as
/// the contract of chase() allows: two levels, and the later sweep first.
template <Scalar T, class Step>
void run_in_flight(std::vector<Sweep<T>>& sweeps, Step step) {
  const auto count = static_cast<index_t>(sweeps.size());
  for (index_t time = 0; time < sweeps.front().levels() + 2 * (count - 1); ++time) {
    for (index_t s = count - 1; s >= 0; --s) {
      const index_t k = time - 2 * s;
      if (k >= 0 && k < sweeps[static_cast<std::size_t>(s)].levels()) step(s, k);
    }
  }
}

/// X := the product of the first `count` columns of V, as reflectors, each one row below the last.
/// A diamond: reflector j acts from row j + 1 on. From the last to the first, as LAPACK's orgqr:
/// reflector j finds its columns j + 1.. alone filled.
template <Scalar T>
void multiply_reflectors(MatrixView<const T> V, index_t count, MatrixView<T> X) {
  for (index_t j = 0; j < X.cols; ++j) {
    std::fill_n(&X(0, j), X.rows, T(0));
    X(j, j) = T(1);
  }
  Reflector<T> H(V.rows);
  for (index_t j = count - 1; j >= 0; --j) {
    std::copy_n(&V(0, j), V.rows, H.v.data());
    H.tau = real_part(std::exchange(H.v[0], T(1)));
    apply_left(H, X.block(j + 1, j + 1, V.rows, X.cols - j - 1));
  }
}

}  // namespace

template <class T>
void Backend::chase(Queue& queue, MatrixView<T> band, index_t first_sweep, index_t sweeps,
                    MatrixView<T> reflectors, const ChaseScratch&) {
  if (sweeps == 0) return;
  queue.enqueue([=] {
    declare_write(band);
    declare_write(reflectors);
    for (index_t j = 0; j < reflectors.cols; ++j) {
      std::fill_n(&reflectors(0, j), reflectors.rows, T(0));
    }
    for (index_t begin = 0; begin < sweeps; begin += sweeps_in_flight) {
      std::vector<Sweep<T>> flight;
      for (index_t s = begin; s < std::min(begin + sweeps_in_flight, sweeps); ++s) {
        flight.emplace_back(band, first_sweep + s);
      }
      run_in_flight(flight, [&](index_t s, index_t k) {
        Sweep<T>& sweep = flight[static_cast<std::size_t>(s)];
        sweep.step(k);
        const index_t column = begin + s + sweeps * k;
        if (column < reflectors.cols) sweep.keep(k, reflectors.column_range(column, column + 1));
      });
    }
  });
}

template <class T>
void Backend::extract_tridiagonal(Queue& queue, MatrixView<const T> band, real_t<T>* d,
                                  real_t<T>* e, T* phases) {
  const index_t n = band.cols;
  if (n == 0) return;
  queue.enqueue([=] {
    declare_read(band.row_range(0, 2));
    declare_write(d, n);
    declare_write(e, n - 1);
    if (phases != nullptr) declare_write(phases, n);
    T phase(1);
    for (index_t i = 0; i < n; ++i) {
      d[i] = real_part(band(0, i));
      if (phases != nullptr) phases[i] = phase;
      if (i + 1 == n) break;
      const T below = band(1, i);
      e[i] = std::abs(below);
      if (e[i] == 0) continue;
      phase = product(phase, below / e[i]);
      phase /= std::abs(phase);
    }
  });
}

template <class T, class S>
void Backend::scaled_adjoint(Queue& queue, const T* phases, MatrixView<const S> Z,
                             MatrixView<T> U) {
  if (U.empty()) return;
  queue.enqueue([=] {
    declare_read(phases, U.cols);
    declare_read(Z);
    declare_write(U);
    constexpr index_t block = 16;  // whole cache lines on both sides
    for (index_t i1 = 0; i1 < U.rows; i1 += block) {
      const index_t i2 = std::min(i1 + block, U.rows);
      for (index_t j = 0; j < U.cols; ++j) {
        for (index_t i = i1; i < i2; ++i) U(i, j) = conjugate(product(phases[j], T(Z(j, i))));
      }
    }
  });
}

template <class T>
void Backend::form_diamonds(Queue& queue, const DiamondWaves& waves, MatrixView<const T> reflectors,
                            index_t first_wave, MatrixView<T> diamonds) {
  if (diamonds.empty()) return;
  queue.enqueue([=] {
    declare_read(reflectors);
    declare_write(diamonds);
    const index_t size = waves.height(), groups = waves.groups();
    const index_t end = std::min(waves.waves(), first_wave + diamonds.cols / (groups * size));
    for (index_t t = first_wave; t < end; ++t) {
      for (index_t G = waves.first_group(t); G < waves.end_group(t); ++G) {
        const index_t column = G * waves.group() + waves.sweeps() * waves.level(t, G);
        const index_t block = (t - first_wave) * groups + G;
        multiply_reflectors(reflectors.column_range(column, reflectors.cols),
                            waves.sweeps_of_group(G), diamonds.block(0, block * size, size, size));
      }
    }
  });
}

template <class T>
void Backend::apply_diamonds(Queue& queue, MatrixView<const T> diamonds, MatrixView<const T> from,
                             MatrixView<T> to) {
  const index_t size = diamonds.rows;
  for (index_t first = 0; first < std::min(diamonds.cols, to.cols); first += size) {
    const index_t end = std::min(first + size, to.cols), width = end - first;
    gemm<T>(queue, Op::none, Op::conj_trans, T(1), from.column_range(first, end),
            diamonds.block(0, first, width, width), T(0), to.column_range(first, end));
  }
}

#define JAXMG_INSTANTIATE(T)                                                                      \
  template void Backend::chase(Queue&, MatrixView<T>, index_t, index_t, MatrixView<T>,            \
                               const ChaseScratch&);                                              \
  template void Backend::extract_tridiagonal(Queue&, MatrixView<const T>, real_t<T>*, real_t<T>*, \
                                             T*);                                                 \
  template void Backend::scaled_adjoint(Queue&, const T*, MatrixView<const T>, MatrixView<T>);    \
  template void Backend::form_diamonds(Queue&, const DiamondWaves&, MatrixView<const T>, index_t, \
                                       MatrixView<T>);                                            \
  template void Backend::apply_diamonds(Queue&, MatrixView<const T>, MatrixView<const T>,         \
                                        MatrixView<T>);
JAXMG_INSTANTIATE(float)
JAXMG_INSTANTIATE(double)
JAXMG_INSTANTIATE(std::complex<float>)
JAXMG_INSTANTIATE(std::complex<double>)
template void Backend::scaled_adjoint(Queue&, const std::complex<float>*, MatrixView<const float>,
                                      MatrixView<std::complex<float>>);
template void Backend::scaled_adjoint(Queue&, const std::complex<double>*, MatrixView<const double>,
                                      MatrixView<std::complex<double>>);

}  // namespace jaxmg::cpu
