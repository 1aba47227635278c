// Eigenvalues and eigenvectors of Hermitian matrices.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "jaxmg/export.hpp"
#include "jaxmg/matrix.hpp"
#include "jaxmg/stage.hpp"

namespace jaxmg {

struct SyevdOptions {
  /// Width of a tile column; 0 lets the library choose.
  index_t tile = 0;
  /// Subdiagonals of the band matrix between the two stages; 0 lets the library choose.
  index_t bandwidth = 0;
  /// Whether eigenvectors are wanted too. Without them there is no storage for any.
  bool eigenvectors = true;
  /// Told of the stages, if there is one.
  StageListener listener = {};
};

/// What syevd() finds.
template <Scalar T>
struct SyevdResult {
  /// The n eigenvalues, ascending; NaN if info is not 0.
  std::vector<real_t<T>> w;
  /// V with A V = V diag(w), if it was asked for; NaN throughout if info is not 0. Zero in rows and
  /// columns from n on.
  std::optional<DistributedMatrix<T>> vectors;
  /// 0, or not where A is not finite or an iteration does not converge.
  std::int32_t info;
};

/// A = V diag(w) V^H for a Hermitian matrix, whose storage is used up (LAPACK heevd, uplo = 'L'; a
/// reduction in two stages, by way of a band matrix, and divide and conquer). Up to 28/3 n^3 flops
/// with eigenvectors and 2 n^3 without, times 4 for complex types. ||A V - V diag(w)||_1 and
/// ||I - V^H V||_1, and the errors of w, are small multiples of n eps ||A||_1 and n eps, whatever A
/// and its scale.
///
/// Memory beside A's, in shards of n^2 / P elements: V, as much again, half a shard, and for small
/// n some hundred columns; without eigenvectors those columns alone.
///
/// @param a  its lower triangle is read; its storage is overwritten and released
/// @throws InvalidArgument for a negative tile or bandwidth, or a bandwidth above 64 on GPUs;
///         TeamError if a rank fails, OutOfMemory
template <Scalar T>
JAXMG_EXPORT SyevdResult<T> syevd(DistributedMatrix<T> a, const SyevdOptions& options = {});

}  // namespace jaxmg
