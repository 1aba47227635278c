// Solves with a Cholesky factor.
#pragma once

#include "jaxmg/potrf.hpp"

namespace jaxmg {

/// Solves A X = B for any number of right-hand sides: 2 n^2 k flops, times 4 for complex types
/// (LAPACK potrs).
///
/// @param factor  of A; if its info() is not 0, every entry of X is NaN
/// @param b       order() x k, in host memory; B on entry, X on return
/// @throws InvalidArgument if b has not order() rows; TeamError if a rank fails, OutOfMemory
template <Scalar T>
JAXMG_EXPORT void potrs(const CholeskyFactor<T>& factor, MatrixView<T> b);

}  // namespace jaxmg
