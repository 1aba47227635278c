// The secular equation of divide and conquer: one root of it, as one thread of a device finds it,
// or some that share its sums (`Members`, see Alone). Plain loops over plain arrays.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>

#include "device/thread.hpp"

namespace jaxmg {

/// The eigenvalue problem D + rho z z^T, D = diag(poles). The poles ascend strictly, rho > 0, no
/// element of z is zero. Its eigenvalues are the roots of
///
///     f(lambda) = 1 / rho + sum_i z_i^2 / (poles_i - lambda),
///
/// one above each pole and below the next, the last at most rho ||z||^2 above the last pole.
struct SecularEquation {
  index_t order;
  const double* poles;
  const double* z;
  double rho;
};

/// The root poles[origin] + offset, origin the pole next to it. So poles_i - lambda is known to a
/// few units in its last place for every i, which is what orthogonal eigenvectors need.
struct SecularRoot {
  index_t origin;
  double offset;
};

/// (x, y) := (cosine x + sine y, cosine y - sine x) for columns x = first, y = second.
struct Rotation {
  index_t first;
  index_t second;
  double cosine;
  double sine;
};

/// poles_i - lambda.
inline double difference(const double* poles, index_t i, SecularRoot root) {
  return (poles[i] - poles[root.origin]) - root.offset;
}

namespace detail {

struct SecularValue {
  double f;
  double slope_below;  ///< the part of f' of the poles up to `split`
  double slope_above;
  double error;  ///< a bound on f's rounding error in units of the precision
};

/// f = 1 / rho + psi + phi, psi summed over the poles up to `split` and phi over the others, each
/// towards the root, so that partial sums bound the rounding error (LAPACK laed4's erretm); the
/// terms of psi have one sign, as those of phi, so that sums of parts are bounded as well.
template <class Members>
SecularValue evaluate(const Members& members, const SecularEquation& equation, index_t split,
                      SecularRoot at) {
  double psi = 0, slope_below = 0, phi = 0, slope_above = 0, sums = 0;
  for (index_t i = members.first(); i <= split; i += members.count()) {
    const double t = equation.z[i] / difference(equation.poles, i, at);
    psi += equation.z[i] * t;
    slope_below += t * t;
    sums += std::abs(psi);
  }
  for (index_t i = equation.order - 1 - members.first(); i > split; i -= members.count()) {
    const double t = equation.z[i] / difference(equation.poles, i, at);
    phi += equation.z[i] * t;
    slope_above += t * t;
    sums += std::abs(phi);
  }
  psi = members.sum(psi);
  phi = members.sum(phi);
  slope_below = members.sum(slope_below);
  slope_above = members.sum(slope_above);
  sums = members.sum(sums);
  const double constant = 1 / equation.rho;
  return {constant + phi + psi, slope_below, slope_above,
          (8 + Members::depth) * (std::abs(phi) + std::abs(psi)) + sums + 2 * constant +
              std::abs(at.offset) * (slope_below + slope_above)};
}

/// The root of c x^2 - a x + b that `plus` chooses, (a + sqrt(a^2 - 4 b c)) / (2 c) or the one with
/// the minus, without cancellation.
inline double quadratic_root(double a, double b, double c, bool plus) {
  const double root = std::sqrt(std::abs(a * a - 4 * b * c));
  if (plus) return a >= 0 ? (a + root) / (2 * c) : 2 * b / (a - root);
  return a <= 0 ? (a - root) / (2 * c) : 2 * b / (a + root);
}

struct Bracket {
  double low, high;
  bool holds(double x) const { return low < x && x < high; }  // false for a NaN
  /// The arithmetic mean; the geometric one where the ends are orders of magnitude apart, as when a
  /// root is far nearer to its pole than the pole to the next.
  double middle() const {
    const double mean = low + (high - low) / 2;
    const double near = std::min(std::abs(low), std::abs(high)), far = width() + near;
    const double least = 1e-8 * far;
    return far < 100 * near ? mean : std::copysign(std::sqrt(std::max(near, least) * far), mean);
  }
  double width() const { return high - low; }
};

struct SecularStart {
  SecularRoot root;
  Bracket offsets;
};

/// The pole nearer to root j, and a first guess: the two poles around the root (or, for the last
/// root, below it) taken as they are, the others' sum as it is in the middle.
template <class Members>
SecularStart start_of(const Members& members, const SecularEquation& equation, index_t j) {
  const bool last = j == equation.order - 1;
  const index_t lower = last ? j - 1 : j, upper = lower + 1;
  const double gap = equation.poles[upper] - equation.poles[lower];
  const double below = equation.z[lower] * equation.z[lower];
  const double above = equation.z[upper] * equation.z[upper];

  double reach = gap;
  if (last) {
    double square = 0;
    for (index_t i = members.first(); i < equation.order; i += members.count()) {
      square += equation.z[i] * equation.z[i];
    }
    reach = equation.rho * members.sum(square);
  }
  const SecularRoot middle{j, reach / 2};
  const double f = evaluate(members, equation, lower, middle).f;
  const double rest = f - below / difference(equation.poles, lower, middle) -
                      above / difference(equation.poles, upper, middle);

  SecularStart start{middle, {0, reach / 2}};
  double guess = 0;
  if (last) {
    constexpr double rounding = 8 * std::numeric_limits<double>::epsilon();
    if (f < 0) start.offsets = {reach / 2, reach * (1 + rounding)};
    guess = quadratic_root(below + above - rest * gap, -above * gap, rest, true);
  } else if (f >= 0) {
    guess = quadratic_root(below + above + rest * gap, below * gap, rest, false);
  } else {
    start.root = {upper, -reach / 2};
    start.offsets = {-reach / 2, 0};
    guess = quadratic_root(below + above - rest * gap, -above * gap, rest, false);
  }
  start.root.offset = start.offsets.holds(guess) ? guess : start.offsets.middle();
  return start;
}

/// Which two poles stand for f's sum; see find_root().
enum class Weights { of_slopes, of_nearer_pole };

/// The step to root j of a constant and the two poles around it, or the last two, made from f
/// and its slopes; Newton's where that one has the wrong sign.
inline double rational_step(const SecularEquation& equation, index_t j, SecularRoot at,
                            const SecularValue& value, Weights weights) {
  const bool last = j == equation.order - 1;
  const index_t lower = last ? j - 1 : j;
  const double slope = value.slope_below + value.slope_above;
  const double below = difference(equation.poles, lower, at);
  const double above = difference(equation.poles, lower + 1, at);
  double c = value.f - below * value.slope_below - above * value.slope_above;
  if (!last && weights == Weights::of_nearer_pole) {
    const bool from_below = at.origin == lower;
    const double near = from_below ? below : above, far = from_below ? above : below;
    const double t = equation.z[at.origin] / near;
    c = value.f - far * slope - (near - far) * t * t;
  }
  const double a = (below + above) * value.f - below * above * slope;
  const double b = below * above * value.f;
  const double step = quadratic_root(a, b, c, last);
  return step * value.f < 0 ? step : -value.f / slope;
}

}  // namespace detail

/// Four times what any root has been seen to take; see find_root().
constexpr int secular_iterations = 100;

/// Finds root j; false where it does not within `secular_iterations`, or f is not finite.
///
/// Each step replaces f's sum by the two poles around the root (for the last root, by the last two)
/// and a constant, with f's value and slope, and solves a quadratic equation (Li, LAPACK Working
/// Note 89, 1993): with "fixed weight", where the nearer pole keeps its own, or "the middle way",
/// where each has the slope of its side. They change places when a step has not brought |f| down to
/// a tenth. Where it has not halved the bracket either, in which all steps stay, and the step
/// before had not, the bracket is halved. Stops as LAPACK's laed4 does, where f is no larger than
/// its rounding error, or where the bracket has no room left.
///
/// 4.7 evaluations of f are the mean over many matrices, each of 7 flops and a division a pole.
template <class Members>
bool find_root(const Members& members, const SecularEquation& equation, index_t j,
               SecularRoot& root) {
  if (equation.order == 1) {
    root = {0, equation.rho * equation.z[0] * equation.z[0]};
    return true;
  }
  const index_t lower = j == equation.order - 1 ? j - 1 : j;
  constexpr double unit = std::numeric_limits<double>::epsilon() / 2;
  auto [at, offsets] = detail::start_of(members, equation, j);
  auto weights = detail::Weights::of_nearer_pole;
  double size_before = std::numeric_limits<double>::infinity(), width_before = offsets.width();
  bool was_slow = false;

  for (int iteration = 1; iteration <= secular_iterations; ++iteration) {
    const detail::SecularValue value = detail::evaluate(members, equation, lower, at);
    root = at;
    const double size = std::abs(value.f);
    if (size <= unit * value.error) return true;
    (value.f < 0 ? offsets.low : offsets.high) = at.offset;

    const bool stalls = size > size_before / 10;
    const bool slow = stalls && offsets.width() > width_before / 2;
    const bool halve = slow && was_slow;
    if (stalls) {
      weights = weights == detail::Weights::of_slopes ? detail::Weights::of_nearer_pole
                                                      : detail::Weights::of_slopes;
    }
    double next = at.offset + detail::rational_step(equation, j, at, value, weights);
    if (halve || !offsets.holds(next)) next = offsets.middle();
    if (!offsets.holds(next)) return std::isfinite(value.f);
    at.offset = next;
    was_slow = slow && !halve;
    size_before = size;
    width_before = offsets.width();
  }
  return false;
}

/// Component i of the vector whose rank-one update of the poles has exactly these roots (Loewner's
/// formula), with the sign of z's (Gu and Eisenstat, SIAM J. Matrix Anal. Appl. 15, 1994; LAPACK
/// laed3). Every factor but the last is below 1: a root and the pole on its far side.
template <class Members>
double refined_weight(const Members& members, const SecularEquation& equation,
                      const SecularRoot* roots, index_t i) {
  const double* poles = equation.poles;
  const index_t last = equation.order - 1;
  double product = members.first() == 0 ? -difference(poles, i, roots[last]) : 1;
  for (index_t j = members.first(); j < last; j += members.count()) {
    product *= difference(poles, i, roots[j]) / (poles[i] - poles[j < i ? j : j + 1]);
  }
  return std::copysign(std::sqrt(std::abs(members.product(product))), equation.z[i]);
}

}  // namespace jaxmg
