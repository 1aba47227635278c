// Inverses of Hermitian positive definite matrices.
#pragma once

#include "jaxmg/potrf.hpp"

namespace jaxmg {

struct PotriOptions {
  /// Width of a tile column; 0 lets the library choose.
  index_t tile = 0;
};

/// What potri() makes of a matrix.
template <Scalar T>
struct PotriResult {
  /// A^-1, both triangles; NaN throughout if info is not 0. Zero in rows and columns from n on.
  DistributedMatrix<T> inverse;
  /// 0, or the order of the first leading minor that is not positive definite (LAPACK).
  std::int32_t info;
  /// log det A; NaN if info is not 0.
  real_t<T> logdet;
};

/// Inverts a Hermitian positive definite matrix in its own storage, without a factor in between:
/// n^3 flops, times 4 for complex types (LAPACK potrf and potri, uplo = 'L', and both triangles of
/// the result). The error of the inverse is LAPACK's. So is the residual A X - I, but for matrices
/// whose leading blocks are nearly singular, such as kernel matrices of sorted points with a
/// condition beyond some 1e8: inverse() of a factor has a small residual for those too.
///
/// @param a  its lower triangle is read; its storage goes into the result
/// @throws InvalidArgument for a negative tile; TeamError if a rank fails, OutOfMemory
template <Scalar T>
JAXMG_EXPORT PotriResult<T> potri(DistributedMatrix<T> a, const PotriOptions& options = {});

/// The inverse of A = L L^H, both triangles, in storage of its own: 2 n^3 / 3 flops, times 4 for
/// complex types (LAPACK potri). Its residual A X - I is small for every A that has a factor.
///
/// @return NaN throughout if the factor's info() is not 0; zero in rows and columns from n on
/// @throws TeamError if a rank fails, OutOfMemory
template <Scalar T>
JAXMG_EXPORT DistributedMatrix<T> inverse(const CholeskyFactor<T>& factor);

}  // namespace jaxmg
