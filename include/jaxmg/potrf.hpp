// Cholesky factorisation.
#pragma once

#include <cstdint>

#include "jaxmg/export.hpp"
#include "jaxmg/matrix.hpp"

namespace jaxmg {

struct PotrfOptions {
  /// Width of a tile column; 0 lets the library choose.
  index_t tile = 0;
};

/// A = L L^H, spread over a team. Made by potrf(); holds the storage of the matrix it was made of.
template <Scalar T>
class JAXMG_EXPORT CholeskyFactor {
 public:
  index_t order() const { return matrix_.order(); }
  const Team& team() const { return matrix_.team(); }
  index_t tile() const { return tile_; }

  /// 0, or the order of the first leading minor that is not positive definite (LAPACK). If it is
  /// not 0 there is no factor: solves give NaN.
  std::int32_t info() const { return info_; }
  /// log det A; NaN if info() is not 0.
  real_t<T> logdet() const { return logdet_; }

  /// Copies the lower triangle of the first order() rows and columns into `lower`, in host memory,
  /// which is at least that large; its strict upper triangle becomes zero.
  void gather(MatrixView<T> lower) const;

  /// For the routines of this library: L in the cyclic layout of `tile`, one shard a rank.
  const DistributedMatrix<T>& storage() const { return matrix_; }
  /// For the routines of this library: inverses of a rank's diagonal tiles, tile() rows for each of
  /// its columns; empty where solves use L itself.
  MatrixView<T> tile_inverses(int rank) const {
    if (inverses_.empty()) return {};
    return {inverses_[static_cast<std::size_t>(rank)].get(), tile_, matrix_.local_columns(), tile_};
  }

 private:
  template <Scalar U>
  friend CholeskyFactor<U> potrf(DistributedMatrix<U> a, const PotrfOptions& options);

  CholeskyFactor(DistributedMatrix<T> matrix, index_t tile)
      : matrix_(std::move(matrix)), tile_(tile) {}

  DistributedMatrix<T> matrix_;
  index_t tile_;
  std::vector<std::shared_ptr<T>> inverses_;
  std::int32_t info_ = 0;
  real_t<T> logdet_ = 0;
};

/// Factors a Hermitian positive definite matrix, A = L L^H, in its own storage: n^3 / 3 flops,
/// times 4 for complex types (LAPACK potrf, uplo = 'L').
///
/// @param a  its lower triangle is read; its storage goes into the factor
/// @return the factor; a matrix that is not positive definite, or holds NaN, is told by info()
/// @throws InvalidArgument for a negative tile; TeamError if a rank fails, OutOfMemory
template <Scalar T>
JAXMG_EXPORT CholeskyFactor<T> potrf(DistributedMatrix<T> a, const PotrfOptions& options = {});

}  // namespace jaxmg
