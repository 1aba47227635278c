// Sums over the threads of a warp or of a block, the same bits on all of them.
#pragma once

#include <algorithm>

#include "device/cuda/kernels/device.cuh"
#include "device/cuda/kernels/shapes.hpp"

namespace jaxmg::cuda {

constexpr unsigned all_lanes = 0xffffffffU;

inline int lane_index() { return static_cast<int>(threadIdx.x) % warp_size; }
inline int warp_index() { return static_cast<int>(threadIdx.x) / warp_size; }

template <class R>
R from_lane(R a, int mask) {
  return __shfl_xor_sync(all_lanes, a, mask);
}
template <class R>
std::complex<R> from_lane(std::complex<R> a, int mask) {
  return {from_lane(a.real(), mask), from_lane(a.imag(), mask)};
}

/// op(..., op(a_1, a_2)) of the lanes' numbers; op(a, b) = op(b, a).
template <class T, class Op>
T warp_reduction(T a, Op op) {
#pragma unroll
  for (int mask = warp_size / 2; mask > 0; mask /= 2) a = op(a, from_lane(a, mask));
  return a;
}
template <class T>
T warp_sum(T a) {
  return warp_reduction(a, [](T x, T y) { return x + y; });
}
/// NaN may be lost.
inline double warp_largest(double a) {
  return warp_reduction(a, [](double x, double y) { return std::max(x, y); });
}

/// Of a block of whole warps. `scratch`: 32 elements of shared memory, which may be used again when
/// all have met.
template <class T>
T block_sum(T a, T* scratch) {
  a = warp_sum(a);
  if (lane_index() == 0) scratch[warp_index()] = a;
  __syncthreads();
  const int warps = static_cast<int>(blockDim.x) / warp_size;
  return warp_sum(lane_index() < warps ? scratch[lane_index()] : T(0));
}
/// Of numbers that are not negative.
inline double block_largest(double a, double* scratch) {
  a = warp_largest(a);
  if (lane_index() == 0) scratch[warp_index()] = a;
  __syncthreads();
  const int warps = static_cast<int>(blockDim.x) / warp_size;
  return warp_largest(lane_index() < warps ? scratch[lane_index()] : 0);
}

/// The lanes of a warp share the work; see Alone.
struct WarpMember {
  static constexpr int depth = 5;
  index_t first() const { return lane_index(); }
  index_t count() const { return warp_size; }
  double sum(double x) const { return warp_sum(x); }
  double largest(double x) const { return warp_largest(x); }
  double product(double x) const {
    return warp_reduction(x, [](double a, double b) { return a * b; });
  }
};

}  // namespace jaxmg::cuda
