// Scaling by powers of two: one pass over the matrix, bound by memory.
#include "device/cuda/kernels/warp.cuh"

namespace jaxmg::cuda {

/// *bits := the bits of the largest |a| as a double, or a NaN's where there is one, from 0 before.
/// Bits of numbers that are not negative compare as the numbers do, and NaN's are above them all.
template <class R>
__global__ void largest_part(MatrixView<const R> A, unsigned long long* bits) {
  R largest = 0;
  for_each(A, [&](index_t i, index_t j) {
    const R a = std::abs(A(i, j));
    if (!(a <= largest) && largest == largest) largest = a;
  });
  unsigned long long mine = __double_as_longlong(static_cast<double>(largest));
  mine = warp_reduction(mine, [](auto x, auto y) { return std::max(x, y); });
  if (lane_index() == 0 && mine > 0) atomicMax(bits, mine);
}

/// The exponent e of x = m 2^e, m in [0.5, 1), for the largest x; 0 if that is 0 or not finite.
int exponent_of_largest(const double* largest, int count) {
  double x = 0;
  for (int i = 0; i < count; ++i) {
    if (!(largest[i] <= x) && x == x) x = largest[i];
  }
  int exponent = 0;
  if (x > 0 && std::isfinite(x)) std::frexp(x, &exponent);
  return exponent;
}

/// A := 2^(sign e) A with that exponent.
template <class R>
__global__ void scale(const double* largest, int count, int sign, MatrixView<R> A) {
  const int exponent = sign * exponent_of_largest(largest, count);
  if (exponent == 0) return;
  for_each(A, [&](index_t i, index_t j) { A(i, j) = std::ldexp(A(i, j), exponent); });
}

#define JAXMG_INSTANTIATE(R)                                                       \
  template __global__ void largest_part(MatrixView<const R>, unsigned long long*); \
  template __global__ void scale(const double*, int, int, MatrixView<R>);
JAXMG_INSTANTIATE(float)
JAXMG_INSTANTIATE(double)

}  // namespace jaxmg::cuda
