// What the tridiagonal eigensolver asks of a backend beside the contract's operations.
//
// Every operation is parallel over eigenvalues, columns or rows. The host reads what it needs to
// go on by download() and queue.synchronize(), and nowhere else.
#pragma once

#include <vector>

#include "device/contract.hpp"
#include "device/secular.hpp"

namespace jaxmg {

/// The widest tridiagonal block that solve_leaves() takes.
constexpr index_t widest_leaf = 32;

// clang-format off
/// copy            also of SecularRoot
/// upload          also of index_t, R and Rotation; download also of R
/// solve_leaves    for each i < count the tridiagonal block of rows and columns borders[i] up to
///                 borders[i + 1], at most widest_leaf, of diagonal d and off-diagonal e (e[j] couples
///                 j and j + 1): d := its eigenvalues, ascending, its window of Q := its
///                 eigenvectors; e is lost. d[borders[0]] belongs to Q(0, 0). *info := borders[i] + 1
///                 where the iteration fails. On a GPU one thread block a leaf, implicit QL as in
///                 LAPACK steqr, each thread its own row of the eigenvectors
/// rotate_columns  applies the rotations to Q one after the other; a thread a row
/// gather_columns  dst(:, j) := src(:, columns[j])
/// solve_secular   roots[j] := root j for first <= j < last; *info := 1 where it is not found. 7
///                 flops and a division a pole and evaluation, some 5 evaluations a root; a warp a root
/// refine_weights  weights[i], first <= i < last := the z for which `roots` are the exact
///                 eigenvalues of D + z z^T, with the signs of equation.z (Gu and Eisenstat; LAPACK
///                 laed3); a warp a weight
/// secular_vectors values[j] := root first + j and S(:, j) := its unit eigenvector, for j < S.cols,
///                 equation.z the refined weights; component i stands in row rows[i]; a warp a column
/// bisect          w[j] := eigenvalue first + j, counted from 0 in ascending order, of the tridiagonal
///                 matrix of diagonal d (n) and off-diagonal e (n - 1), for j < last - first; where
///                 an entry is not finite all are NaN and *info := 1, also if last = first. A thread
///                 an eigenvalue
template <class B, class R>
concept TridiagonalBackendFor = std::floating_point<R> && BackendFor<B, R> && requires(
    typename B::Queue& queue, const R* values, R* results, double* dst,
    const index_t* indices, index_t count, MatrixView<const R> a, MatrixView<R> c,
    const Rotation* rotations, const SecularEquation& equation, SecularRoot* roots,
    MatrixView<const SecularRoot> their_roots, MatrixView<SecularRoot> own_roots,
    std::int32_t* info) {
  B::download(queue, values, count, results);
  B::upload(queue, std::vector<R>(), results);
  B::upload(queue, std::vector<index_t>(), const_cast<index_t*>(indices));
  B::upload(queue, std::vector<Rotation>(), const_cast<Rotation*>(rotations));
  B::copy(queue, their_roots, own_roots);

  B::solve_leaves(queue, indices, count, dst, dst, c, info);
  B::rotate_columns(queue, rotations, count, c);
  B::gather_columns(queue, a, indices, c);
  B::solve_secular(queue, equation, count, count, roots, info);
  B::refine_weights(queue, equation, roots, count, count, dst);
  B::secular_vectors(queue, equation, roots, indices, count, dst, c);
  B::bisect(queue, values, values, count, count, count, results, info);
};
// clang-format on

template <class B>
concept TridiagonalBackend = TridiagonalBackendFor<B, float> && TridiagonalBackendFor<B, double>;

}  // namespace jaxmg
