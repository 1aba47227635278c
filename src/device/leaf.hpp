// Eigenvalues and eigenvectors of a small symmetric tridiagonal matrix, as the threads of a device
// find them: each all eigenvalues, by the same operations, and one row of the eigenvectors.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

namespace jaxmg {

/// Iterations that an eigenvalue may take; two are usual.
constexpr int leaf_iterations = 30;

namespace detail {

/// Entries first to last in reverse order.
inline void reverse(double* values, int first, int last) {
  for (; first < last; ++first, --last) {
    std::swap(values[first], values[last]);
  }
}

}  // namespace detail

/// d[0..n) := the eigenvalues, ascending, of the matrix of diagonal d and off-diagonal e[0..n-1),
/// and z := this row of its eigenvectors, from the same row of the identity before. e needs n
/// elements. false where an eigenvalue is not found, as where an entry is not finite.
///
/// Implicit QL with Wilkinson's shift (Bowdler, Martin, Reinsch and Wilkinson, Numerische
/// Mathematik 11, 1968; EISPACK imtql2), some 3 n^2 rotations of a row, and then a sort. A block
/// with its smaller end below is turned round first, as graded ones must be (LAPACK steqr changes
/// to QR there). The matrix is part of one of norm 1 or so: what is below 1e-291 is taken for zero.
/// Bound by the chain of divisions and roots of the rotations.
inline bool solve_leaf(int n, double* d, double* e, double* z) {
  constexpr double unit = std::numeric_limits<double>::epsilon() / 2;
  // Of numbers that are not normal, nothing is small enough in relation to them.
  constexpr double negligible = std::numeric_limits<double>::min() / unit;
  if (n > 0) e[n - 1] = 0;
  int end = -1;  // of the block at work
  for (int l = 0; l < n; ++l) {
    for (int iteration = 0;; ++iteration) {
      int m = l;
      while (m + 1 < n &&
             !(std::abs(e[m]) <= unit * (std::abs(d[m]) + std::abs(d[m + 1])) + negligible))
        ++m;
      if (l > end && std::abs(d[m]) < std::abs(d[l])) {
        detail::reverse(d, l, m);
        detail::reverse(e, l, m - 1);
        detail::reverse(z, l, m);
      }
      end = m;
      if (m == l) break;
      if (iteration == leaf_iterations) return false;
      double g = (d[l + 1] - d[l]) / (2 * e[l]);
      double r = std::hypot(g, 1.0);
      g = d[m] - d[l] + e[l] / (g + std::copysign(r, g));
      double s = 1, c = 1, p = 0;
      int i = m - 1;
      for (; i >= l; --i) {
        const double f = s * e[i], b = c * e[i];
        r = std::hypot(f, g);
        e[i + 1] = r;
        if (r == 0) break;  // the matrix splits below i
        s = f / r;
        c = g / r;
        g = d[i + 1] - p;
        r = (d[i] - g) * s + 2 * c * b;
        p = s * r;
        d[i + 1] = g + p;
        g = c * r - b;
        const double x = z[i], y = z[i + 1];
        z[i + 1] = s * x + c * y;
        z[i] = c * x - s * y;
      }
      if (i >= l) {
        d[i + 1] -= p;
        e[m] = 0;
        continue;
      }
      d[l] -= p;
      e[l] = g;
      e[m] = 0;
    }
  }
  for (int i = 0; i + 1 < n; ++i) {
    int least = i;
    for (int j = i + 1; j < n; ++j) {
      if (d[j] < d[least]) least = j;
    }
    const double value = d[i], entry = z[i];
    d[i] = d[least];
    z[i] = z[least];
    d[least] = value;
    z[least] = entry;
  }
  return true;
}

}  // namespace jaxmg
