// Eigenvalues of a symmetric tridiagonal matrix by bisection, as one thread of a device finds some.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "jaxmg/types.hpp"

namespace jaxmg {

/// The number of negative pivots of T - x I = L D L^T, which is the number of eigenvalues below x
/// (Sylvester; LAPACK stebz, laneg). All in double, on T scaled by a power of two so that no entry
/// is above 1. A pivot is kept away from zero (`smallest_pivot`), which moves T by less than the
/// smallest normal number.
template <class R>
class SturmSequence {
 public:
  SturmSequence(const R* d, const R* e, index_t n) : d_(d), e_(e), n_(n) {
    double norm = 0;
    for (index_t i = 0; i < n; ++i) take_in(d[i], norm);
    for (index_t i = 0; i + 1 < n; ++i) take_in(e[i], norm);
    if (!finite_ || norm == 0) return;
    exponent_ = std::max(std::ilogb(norm) + 1, smallest_exponent);
    scale_ = std::ldexp(1.0, -exponent_);
    find_interval();
  }

  bool finite() const { return finite_; }

  /// w[l] := eigenvalue first + l, counted from 0 in ascending order, for l < count <= lanes, of a
  /// finite matrix. A bisection costs n pivots, each a division and 5 flops, and there are
  /// 2 + log2(1 / eps) of them. The error is within a unit of R's precision at the largest
  /// eigenvalue and that of the counts, a few units of double's.
  ///
  /// `lanes` eigenvalues are sought side by side where a processor's divisions overlap: a chain of
  /// pivots alone is bound by their latency. Every lane tries the same points until the counts tell
  /// it apart from the others. So whatever the rounding errors, results ascend, also where
  /// different devices find them, and do not depend on `lanes`.
  template <int lanes>
  void eigenvalues(index_t first, index_t count, R* w) const {
    Lanes<lanes> low, high, middle;
    low.fill(low_);
    high.fill(high_);
    const double enough =
        std::numeric_limits<R>::epsilon() / 2 * std::max(std::abs(low_), std::abs(high_));
    // Also where the precision leaves nothing between the ends.
    const auto is_open = [&](std::size_t l) {
      return high[l] - low[l] > enough && low[l] < middle[l] && middle[l] < high[l];
    };
    while (true) {
      bool open = false;
      for (std::size_t l = 0; l < lanes; ++l) {
        middle[l] = low[l] + (high[l] - low[l]) / 2;
        open = open || is_open(l);
      }
      if (!open) break;
      const Lanes<lanes> below = count_below<lanes>(middle);
      for (std::size_t l = 0; l < lanes; ++l) {
        if (!is_open(l)) continue;
        const bool is_below = below[l] > static_cast<double>(first + static_cast<index_t>(l));
        (is_below ? high : low)[l] = middle[l];
      }
    }
    for (index_t l = 0; l < count; ++l) {
      w[l] = static_cast<R>(std::ldexp(middle[static_cast<std::size_t>(l)], exponent_));
    }
  }

 private:
  template <int lanes>
  using Lanes = std::array<double, static_cast<std::size_t>(lanes)>;

  static constexpr double smallest_pivot = std::numeric_limits<double>::min();
  /// 2^-exponent must not overflow.
  static constexpr int smallest_exponent = -1000;

  double diagonal(index_t i) const { return static_cast<double>(d_[i]) * scale_; }
  double off_diagonal(index_t i) const { return static_cast<double>(e_[i]) * scale_; }

  void take_in(R entry, double& norm) {
    finite_ = finite_ && std::isfinite(entry);
    norm = std::max(norm, std::abs(static_cast<double>(entry)));
  }

  /// Gershgorin's, which holds all eigenvalues.
  void find_interval() {
    low_ = std::numeric_limits<double>::infinity();
    high_ = -low_;
    for (index_t i = 0; i < n_; ++i) {
      const double radius = (i > 0 ? std::abs(off_diagonal(i - 1)) : 0) +
                            (i + 1 < n_ ? std::abs(off_diagonal(i)) : 0);
      low_ = std::min(low_, diagonal(i) - radius);
      high_ = std::max(high_, diagonal(i) + radius);
    }
  }

  /// How many eigenvalues are below each x: whole numbers, as doubles for the processor's sake.
  template <int lanes>
  Lanes<lanes> count_below(const Lanes<lanes>& x) const {
    Lanes<lanes> count, pivot;
    count.fill(0);
    pivot.fill(1);
    double square = 0;
    for (index_t i = 0; i < n_; ++i) {
      const double d = diagonal(i);
      for (std::size_t l = 0; l < lanes; ++l) {
        const double p = d - x[l] - square / pivot[l];
        pivot[l] = std::abs(p) < smallest_pivot ? -smallest_pivot : p;
        count[l] += pivot[l] < 0 ? 1.0 : 0.0;
      }
      const double e = i + 1 < n_ ? off_diagonal(i) : 0;
      square = e * e;
    }
    return count;
  }

  const R* d_;
  const R* e_;
  index_t n_;
  bool finite_ = true;
  int exponent_ = 0;
  double scale_ = 1;
  double low_ = 0;
  double high_ = 0;
};

}  // namespace jaxmg
