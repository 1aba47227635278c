// Eigenvalues of a symmetric tridiagonal matrix by bisection, as one thread of a device finds some.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>

#include "device/thread.hpp"

namespace jaxmg {

/// The number of negative pivots of T - x I = L D L^T, which is the number of eigenvalues below x
/// (Sylvester; LAPACK stebz, laneg). All in double, on T scaled by a power of two so that no entry
/// is above 1. A pivot is kept away from zero (`smallest_pivot`), which moves T by less than the
/// smallest normal number.
template <class R>
class SturmSequence {
 public:
  /// `members` may share the work that is done once; see Alone.
  template <class Members>
  SturmSequence(const Members& members, const R* d, const R* e, index_t n) : d_(d), e_(e), n_(n) {
    double norm = 0, not_finite = 0;
    const auto take_in = [&](R entry) {
      if (!std::isfinite(entry)) not_finite = 1;
      norm = std::max(norm, std::abs(static_cast<double>(entry)));
    };
    for (index_t i = members.first(); i < n; i += members.count()) {
      take_in(d[i]);
      if (i + 1 < n) take_in(e[i]);
    }
    norm = members.largest(norm);
    finite_ = members.largest(not_finite) == 0;
    if (!finite_ || norm == 0) return;
    exponent_ = std::max(std::ilogb(norm) + 1, smallest_exponent);
    scale_ = std::ldexp(1.0, -exponent_);
    find_interval(members);
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
    for (int l = 0; l < lanes; ++l) {
      low[l] = low_;
      high[l] = high_;
    }
    const double enough = static_cast<double>(std::numeric_limits<R>::epsilon()) / 2 *
                          std::max(std::abs(low_), std::abs(high_));
    // Also where the precision leaves nothing between the ends.
    const auto is_open = [&](int l) {
      return high[l] - low[l] > enough && low[l] < middle[l] && middle[l] < high[l];
    };
    while (true) {
      bool open = false;
      for (int l = 0; l < lanes; ++l) {
        middle[l] = low[l] + (high[l] - low[l]) / 2;
        open = open || is_open(l);
      }
      if (!open) break;
      const Lanes<lanes> below = count_below<lanes>(middle);
      for (int l = 0; l < lanes; ++l) {
        if (!is_open(l)) continue;
        if (below[l] > static_cast<double>(first + l)) {
          high[l] = middle[l];
        } else {
          low[l] = middle[l];
        }
      }
    }
    for (int l = 0; l < count; ++l) w[l] = static_cast<R>(std::ldexp(middle[l], exponent_));
  }

 private:
  template <int lanes>
  struct Lanes {
    double of[lanes];
    double& operator[](int l) { return of[l]; }
    double operator[](int l) const { return of[l]; }
  };

  static constexpr double smallest_pivot = std::numeric_limits<double>::min();
  /// 2^-exponent must not overflow.
  static constexpr int smallest_exponent = -1000;
  /// Entries that are fetched together: a pivot waits for the one before, not for memory as well.
  static constexpr int together = 8;

  double diagonal(index_t i) const { return static_cast<double>(d_[i]) * scale_; }
  double off_diagonal(index_t i) const { return static_cast<double>(e_[i]) * scale_; }

  /// Gershgorin's, which holds all eigenvalues.
  template <class Members>
  void find_interval(const Members& members) {
    double below = -std::numeric_limits<double>::max(), above = below;
    for (index_t i = members.first(); i < n_; i += members.count()) {
      const double radius = (i > 0 ? std::abs(off_diagonal(i - 1)) : 0) +
                            (i + 1 < n_ ? std::abs(off_diagonal(i)) : 0);
      below = std::max(below, radius - diagonal(i));
      above = std::max(above, diagonal(i) + radius);
    }
    low_ = -members.largest(below);
    high_ = members.largest(above);
  }

  /// How many eigenvalues are below each x: whole numbers, as doubles for the processor's sake.
  template <int lanes>
  Lanes<lanes> count_below(const Lanes<lanes>& x) const {
    Lanes<lanes> count, pivot;
    for (int l = 0; l < lanes; ++l) {
      count[l] = 0;
      pivot[l] = 1;
    }
    const auto step = [&](double d, double square) {
      for (int l = 0; l < lanes; ++l) {
        const double p = d - x[l] - square / pivot[l];
        pivot[l] = std::abs(p) < smallest_pivot ? -smallest_pivot : p;
        count[l] += pivot[l] < 0 ? 1.0 : 0.0;
      }
    };
    step(diagonal(0), 0);
    index_t i = 1;
    for (; i + together <= n_; i += together) {
      double d[together], e[together];
      for (int k = 0; k < together; ++k) {
        d[k] = diagonal(i + k);
        e[k] = off_diagonal(i + k - 1);
      }
      for (int k = 0; k < together; ++k) step(d[k], e[k] * e[k]);
    }
    for (; i < n_; ++i) step(diagonal(i), off_diagonal(i - 1) * off_diagonal(i - 1));
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
