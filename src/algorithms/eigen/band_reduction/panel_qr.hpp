// QR factorisation of a tall panel as a block reflector.
#pragma once

#include "device/contract_band_reduction.hpp"

namespace jaxmg {

/// Scratch of panel_qr() for panels of up to m x b.
template <Scalar T>
struct PanelQrWork {
  MatrixView<wide_t<T>> panel;  ///< m x b
  MatrixView<wide_t<T>> small;  ///< b x 5 b
  std::int32_t* info;
};

/// Which way panel_qr() went.
enum class PanelRoute { nothing, cholesky_qr, householder };

/// ||Q1^H Q1 - I||_F that one pass of Cholesky-QR may leave for the second to mend.
inline constexpr double first_pass_tolerance = 0.1;

/// Q R = A by Cholesky-QR twice, A replaced by Q:
///
///     L1 L1^H = A^H A,   Q1 = A L1^-H,   L2 L2^H = Q1^H Q1,   Q = Q1 L2^-H,   R^H = L1 L2.
///
/// *info becomes positive if it was 0 and Q is not to be used: a Gram matrix was not positive
/// definite, or Q1 was far from orthonormal. 6 m b^2 flops; a few b x b kernels beside.
template <BandReductionBackend B, Scalar W>
void cholesky_qr_twice(typename B::Queue& queue, MatrixView<W> A, MatrixView<W> L1,
                       MatrixView<W> L2, MatrixView<W> Rh, std::int32_t* info) {
  const auto divide = [&](MatrixView<W> gram) {
    B::template small_cholesky<W>(queue, gram, info);
    B::template divide_rows<W>(queue, gram, A);
  };
  B::template gemm<W>(queue, Op::conj_trans, Op::none, W(1), A, A, W(0), L1);
  divide(L1);
  B::template gemm<W>(queue, Op::conj_trans, Op::none, W(1), A, A, W(0), L2);
  B::template expect_identity<W>(queue, L2, first_pass_tolerance, info);
  divide(L2);
  B::template gemm<W>(queue, Op::none, Op::none, W(1), L1, L2, W(0), Rh);
}

/// A = (I - Y factor Y^H) [R; 0] for a panel with more rows than columns: A := Y below its diagonal
/// (Y has a unit diagonal) and R on it and above, as LAPACK's geqrf; `factor` upper triangular, as
/// larft.
///
/// A panel of zeros needs no reflector: its factor is 0. Else by Cholesky-QR twice and Householder
/// reconstruction (Ballard, Demmel, Grigori, Jacquelin, Nguyen, Solomonik, IPDPS 2014),
///
///     Q - [S; 0] = Y U,   factor = -U S Y1^-H,   A = Q R = (I - Y factor Y^H) [S R; 0],
///
/// with S = diag(+-1), for complex types too. If Cholesky-QR fails, by Householder reflectors. All
/// of it in double precision, whatever T is: in T, Cholesky-QR would fail from a condition of
/// eps^-1/2 on. Two tests guard it: positive definite Gram matrices, and a first pass that comes
/// near to orthonormal columns; glued Wilkinson matrices pass the first and not the second.
///
/// 7 m b^2 flops by Cholesky-QR, 3 m b^2 by Householder (times 4 for complex), in double precision.
/// On a GPU the first is bound by reading and writing the panel, some ten times, and for small m by
/// the latency of its b x b kernels; the second by that of one or two kernels a column. The host
/// waits once, for the number that chooses.
template <BandReductionBackend B, Scalar T>
PanelRoute panel_qr(typename B::Queue& queue, MatrixView<T> A, MatrixView<T> factor,
                    const PanelQrWork<T>& work) {
  using W = wide_t<T>;
  const index_t w = A.cols;
  const auto small = [&](index_t k) { return work.small.block(0, k * w, w, w); };
  const MatrixView<W> Q = work.panel.block(0, 0, A.rows, w), wide_factor = small(4);

  B::template mark_zero<T>(queue, A, work.info);
  B::template convert<T, W>(queue, A, Q);
  cholesky_qr_twice<B, W>(queue, Q, small(0), small(1), small(2), work.info);
  std::int32_t outcome = 0;
  B::download(queue, work.info, 1, &outcome);
  queue.synchronize();
  if (outcome == is_zero) {
    B::template fill<T>(queue, T(0), factor);
    return PanelRoute::nothing;
  }
  if (outcome == 0) {
    B::template reconstruct<W>(queue, Q.row_range(0, w), small(2), small(3), wide_factor);
    B::template divide_rows<W>(queue, small(3), Q.row_range(w, Q.rows));
  } else {
    B::template convert<T, W>(queue, A, Q);
    B::template householder_qr<W>(queue, Q, wide_factor, work.small.column_range(0, 4 * w));
  }
  B::template convert<W, T>(queue, Q, A);
  B::template convert<W, T>(queue, wide_factor, factor);
  return outcome == 0 ? PanelRoute::cholesky_qr : PanelRoute::householder;
}

}  // namespace jaxmg
