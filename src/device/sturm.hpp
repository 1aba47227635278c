// Eigenvalues of a symmetric tridiagonal matrix by bisection, one as one thread of a device finds
// it. Plain loops over plain arrays, so that every backend can use the same text.
#pragma once

#include <algorithm>
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

  /// Eigenvalue j, counted from 0 in ascending order, of a finite matrix; n + O(1) flops and n
  /// divisions a bisection, 2 + log2(1 / eps) bisections. The error is within a unit of R's
  /// precision at the largest eigenvalue and that of the counts, a few units of double's.
  ///
  /// For any two eigenvalues the same points are tried until the counts tell them apart. So
  /// whatever the rounding errors, results ascend, also where different devices find them.
  R eigenvalue(index_t j) const {
    double low = low_, high = high_;
    const double enough =
        std::numeric_limits<R>::epsilon() / 2 * std::max(std::abs(low), std::abs(high));
    while (high - low > enough) {
      const double middle = low + (high - low) / 2;
      if (middle <= low || middle >= high) break;
      (count_below(middle) > j ? high : low) = middle;
    }
    return static_cast<R>(std::ldexp(low + (high - low) / 2, exponent_));
  }

 private:
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

  index_t count_below(double x) const {
    index_t count = 0;
    double pivot = 1, coupling = 0;
    for (index_t i = 0; i < n_; ++i) {
      pivot = diagonal(i) - x - coupling * coupling / pivot;
      if (std::abs(pivot) < smallest_pivot) pivot = -smallest_pivot;
      count += pivot < 0;
      coupling = i + 1 < n_ ? off_diagonal(i) : 0;
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
