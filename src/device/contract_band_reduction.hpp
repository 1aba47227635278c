// What the reduction to band form asks of a backend beside device/contract.hpp.
#pragma once

#include "device/contract.hpp"
#include "distribution/tiled_rows.hpp"

namespace jaxmg {

/// What mark_zero() writes for a matrix of zeros; failures are positive.
inline constexpr std::int32_t is_zero = -1;

// clang-format off
/// `wide` is in double precision, in which panels are factored. b x b operands are small enough for one thread block's memory.
///
/// mark_zero       *info := is_zero if all of A is 0, else 0
/// convert         dst := src, in dst's precision
/// expect_identity *info := 1 if it was 0 and not ||G - I||_F <= tolerance
/// small_cholesky  A := its Cholesky factor, with zeros above; *info := 1 if it was 0 and there is
///                 none, and then A may be anything
/// divide_rows     B := B L^-H for a tall B. L's diagonal may be complex
/// reconstruct     from the top block Q1 of a matrix Q with orthonormal columns, and R^H: signs
///                 S = diag(+-1) and Q1 - S = L U with L unit lower triangular, without pivoting,
///                 |U_kk| >= 1. Uh := U^H, factor := -U S L^-H, Q1 := L below the diagonal and
///                 S R on it and above. Uh and R^H lower, `factor` upper triangular: zeros
///                 elsewhere
/// householder_qr  A = (I - Y factor Y^H) [R; 0], A.rows >= A.cols: A := Y below the diagonal and
///                 R on it and above, `factor` upper triangular with zeros below; `scratch` is at
///                 least A.cols x 4 A.cols
/// unit_lower      A := A with ones on its diagonal and zeros above it
/// copy_band       band(i, j) := A(j + i, j), 0 where A has no such row; real for i = 0
/// spread_rows     to(places(r), :) := from(r, :) for all rows r of `from`
/// collect_rows    to(r, :) := from(places(r), :) for all rows r of `to`
template <class B, class T>
concept BandReductionBackendFor = BackendFor<B, T> && BackendFor<B, wide_t<T>> && requires(
    typename B::Queue& queue, MatrixView<const T> a, MatrixView<T> c,
    MatrixView<const wide_t<T>> wide, MatrixView<wide_t<T>> wide_out, double tolerance,
    std::int32_t* info, const TiledRows& places) {
  B::mark_zero(queue, a, info);
  B::convert(queue, a, wide_out);
  B::convert(queue, wide, c);
  B::expect_identity(queue, wide, tolerance, info);
  B::small_cholesky(queue, wide_out, info);
  B::divide_rows(queue, wide, wide_out);
  B::reconstruct(queue, wide_out, wide, wide_out, wide_out);
  B::householder_qr(queue, wide_out, wide_out, wide_out);
  B::unit_lower(queue, c);
  B::copy_band(queue, a, c);
  B::spread_rows(queue, a, places, c);
  B::collect_rows(queue, a, places, c);
};
// clang-format on

template <class B>
concept BandReductionBackend = BandReductionBackendFor<B, float> &&
    BandReductionBackendFor<B, double> && BandReductionBackendFor<B, std::complex<float>> &&
    BandReductionBackendFor<B, std::complex<double>>;

}  // namespace jaxmg
