// A reflector from the column that it is to annihilate.
#pragma once

#include <algorithm>

#include "device/cuda/kernels/device.cuh"

namespace jaxmg::cuda {

/// The larger of the parts' moduli; a NaN may be lost.
inline double largest_part_of(double a) { return std::abs(a); }
inline double largest_part_of(std::complex<double> a) {
  return std::max(std::abs(a.real()), std::abs(a.imag()));
}

/// H = I - tau v v^H with H x = beta e_1: v_i = factor x_i for i > 0, v_0 = 1.
template <class W>
struct Reflection {
  double tau;
  W beta;
  W factor;
};

/// 2^-e, e the exponent of the largest part of a column.
inline double safe_scale(double largest) {
  int exponent = 0;
  if (largest > 0 && std::isfinite(largest)) std::frexp(largest, &exponent);
  return std::ldexp(1.0, -std::max(exponent, -1000));
}

/// The modulus of x_0, and x_0 over it. Each division costs as much as 40 products.
inline double modulus_of_head(double head) { return std::abs(head); }
inline double modulus_of_head(std::complex<double> head) { return std::sqrt(square_of(head)); }
inline double phase_of_head(double head, double) { return head < 0 ? -1 : 1; }
inline std::complex<double> phase_of_head(std::complex<double> head, double modulus) {
  // Below it, a quotient of a number and its modulus has no modulus of 1.
  constexpr double tiny = 1e-150;
  return modulus > tiny ? (1 / modulus) * head : std::complex<double>(1);
}

/// The reflector of x from x_0 and the sum of |x_i|^2 for i > 0, both of x times `scale`, which H's
/// factor is to be multiplied with.
template <class W>
Reflection<W> reflection_of(W head, double tail, double scale) {
  const double norm = std::sqrt(square_of(head) + tail);
  const double first = modulus_of_head(head);
  const W phase = phase_of_head(head, first);
  const double length = scale == 1 ? norm : norm / scale;
  return {(first + norm) / norm, -length * phase, (1 / (first + norm)) * conjugate(phase)};
}

}  // namespace jaxmg::cuda
