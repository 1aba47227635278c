// What cuSOLVER's eigensolver is not told and does not tell.
#include <limits>

#include "device/cuda/kernels/device.cuh"

namespace jaxmg::cuda {

/// *info := 1 if A's lower triangle has an entry that is not finite.
template <class T>
__global__ void note_not_finite(MatrixView<const T> A, std::int32_t* info) {
  for_each(A, [=](index_t i, index_t j) {
    const T a = A(i, j);
    // 0 a is NaN where a is not finite.
    if (i >= j && !(square_of(wide_t<T>(real_t<T>(0) * a)) == 0)) *info = 1;
  });
}

/// Zeros in place of all of A where *info is not 0, else of what is lost beside numbers near 1, and
/// squared is no normal number: complex matrices with such entries come back as NaN.
template <class T>
__global__ void zero_what_it_cannot(const std::int32_t* info, MatrixView<T> A) {
  using Limits = std::numeric_limits<real_t<T>>;
  const double least = static_cast<double>(Limits::min()) / Limits::epsilon();
  const bool all = *info != 0;
  for_each(A, [=](index_t i, index_t j) {
    if (all || square_of(wide_t<T>(A(i, j))) < least) A(i, j) = T(0);
  });
}

/// *info := *failed where it was 0.
__global__ void note_verdict(const int* failed, std::int32_t* info) {
  if (*info == 0) *info = *failed;
}

#define JAXMG_INSTANTIATE(T)                                                    \
  template __global__ void note_not_finite(MatrixView<const T>, std::int32_t*); \
  template __global__ void zero_what_it_cannot(const std::int32_t*, MatrixView<T>);
JAXMG_INSTANTIATE(float)
JAXMG_INSTANTIATE(double)
JAXMG_INSTANTIATE(std::complex<float>)
JAXMG_INSTANTIATE(std::complex<double>)

}  // namespace jaxmg::cuda
