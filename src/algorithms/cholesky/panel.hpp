// The panel of a Cholesky step: W = A21 L11^-H with trsm's backward error.
#pragma once

#include "device/contract.hpp"

namespace jaxmg {

inline constexpr index_t widest_substitution_block = 256;

/// Width s of the sub-blocks of a block_substitution() in a panel with `rows` rows below its tile.
/// The flops grow with s, the number of operations falls; a short panel waits for operations.
inline index_t substitution_block(index_t rows) {
  return rows <= 16384 ? widest_substitution_block : widest_substitution_block / 2;
}

/// Scratch of block_substitution() for a tile of width T and m rows at a time.
template <Scalar T>
struct SubstitutionWork {
  MatrixView<T> lower;     ///< T x T: L11 with its other triangle zeroed
  MatrixView<T> inverses;  ///< s x T: the inverse of each diagonal sub-block, s wide, of L11
  MatrixView<T> solution;  ///< m x T

  /// For a panel of so many rows.
  SubstitutionWork for_rows(index_t rows) const {
    return {lower, inverses.row_range(0, substitution_block(rows)), solution};
  }
};

/// Copies L11 and inverts its diagonal sub-blocks, for block_substitution(). The triangle of L11
/// that is not read may hold NaN.
template <Backend B, Scalar T>
void prepare_substitution(typename B::Queue& queue, MatrixView<const T> L11,
                          const SubstitutionWork<T>& work) {
  const MatrixView<T> L = work.lower.block(0, 0, L11.rows, L11.cols);
  B::template copy_lower<T>(queue, L11, L);
  B::template invert_diagonal_blocks<T>(queue, L, work.inverses.rows, work.inverses);
}

/// A21 := A21 L11^-H by block substitution over sub-blocks with inverted diagonals X, each refined
/// once. For sub-block I, with R = A21_I - W_{<I} L_{I,<I}^H,
///
///     W_I = R X^H,   W_I += (R - W_I L_II^H) X^H.
///
/// Without the refinement the residual grows with the condition of L_II, and potrf reports sorted
/// kernel matrices as not positive definite where LAPACK succeeds; with it the bound is trsm's,
/// ||A21 - W L11^H|| <= c T eps ||W|| ||L11||. All products are gemms: m T^2 (1 + 5 s / T)
/// flops. `work` as prepare_substitution() left it.
template <Backend B, Scalar T>
void block_substitution(typename B::Queue& queue, MatrixView<T> A21,
                        const SubstitutionWork<T>& work) {
  const T one(1), minus_one(-1), zero(0);
  const auto multiply = [&](T alpha, MatrixView<const T> left, MatrixView<const T> right, T beta,
                            MatrixView<T> result) {
    B::template gemm<T>(queue, Op::none, Op::conj_trans, alpha, left, right, beta, result);
  };
  const MatrixView<T> L = work.lower.block(0, 0, A21.cols, A21.cols);
  const MatrixView<T> W = work.solution.block(0, 0, A21.rows, A21.cols);
  for (index_t i = 0; i < L.cols; i += work.inverses.rows) {
    const index_t s = std::min(work.inverses.rows, L.cols - i);
    const MatrixView<T> X = work.inverses.block(0, i, s, s);
    const MatrixView<T> W_I = W.column_range(i, i + s);
    const MatrixView<T> R = A21.column_range(i, i + s);
    multiply(minus_one, W.column_range(0, i), L.block(i, 0, s, i), one, R);
    multiply(one, R, X, zero, W_I);
    multiply(minus_one, W_I, L.block(i, i, s, s), one, R);
    multiply(one, R, X, one, W_I);
  }
  B::template copy<T>(queue, W, A21);
}

/// What panel_solve() with L11 needs, where the backend does not solve by trsm.
template <Backend B, Scalar T>
void prepare_panel_solve(typename B::Queue& queue, MatrixView<const T> L11,
                         const SubstitutionWork<T>& work) {
  if constexpr (B::panel_method == PanelMethod::block_substitution) {
    prepare_substitution<B, T>(queue, L11, work);
  }
}

/// A21 := A21 L11^-H in the way that suits the backend.
template <Backend B, Scalar T>
void panel_solve(typename B::Queue& queue, MatrixView<const T> L11, MatrixView<T> A21,
                 const SubstitutionWork<T>& work) {
  if constexpr (B::panel_method == PanelMethod::trsm) {
    B::template trsm<T>(queue, Side::right, Op::conj_trans, L11, A21);
  } else {
    block_substitution<B, T>(queue, A21, work);
  }
}

}  // namespace jaxmg
