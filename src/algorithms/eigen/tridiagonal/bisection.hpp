// Eigenvalues alone of a symmetric tridiagonal matrix, by bisection.
#pragma once

#include <limits>

#include "algorithms/eigen/tridiagonal/row_blocks.hpp"
#include "device/contract_tridiagonal.hpp"
#include "team/rank.hpp"

namespace jaxmg {

/// w := the eigenvalues, ascending, of the symmetric tridiagonal matrix of diagonal `d` (n) and
/// off-diagonal `e` (n - 1), each rank a share of them, then all on all ranks. The error is within
/// R's precision relative to the norm (LAPACK stebz; see SturmSequence).
///
/// n^2 / P pivots a bisection, each a division and 4 flops in double, some 55 bisections for double
/// and 26 for float: bound by the chain of divisions, so by how many eigenvalues a device works on
/// at once. One exchange of n / P elements with each rank. No read by the host.
///
/// d and e are the same on all ranks, ready for rank.panel(), where all is enqueued. *info becomes
/// 0, or 1 where an entry is not finite: then w is NaN, on all ranks. `own` (n) is scratch.
template <Backend B, class R>
requires TridiagonalBackendFor<B, R>
void eigenvalues_by_bisection(Rank<B>& rank, index_t n, const R* d, const R* e, R* w,
                              std::int32_t* info, R* own) {
  auto& queue = rank.panel();
  const Shares shares{0, n, rank.size()};
  const index_t first = shares.border(rank.index()), last = shares.border(rank.index() + 1);
  const index_t tag = rank.reserve(1);
  B::fill(queue, std::int32_t{0}, MatrixView<std::int32_t>(info, 1, 1, 1));
  B::template bisect<R>(queue, d, e, n, first, last, own, info);
  rank.post(tag, own, queue);
  for (int p = 0; p < rank.size(); ++p) {
    const index_t begin = shares.border(p), count = shares.border(p + 1) - begin;
    if (count == 0) continue;
    const R* theirs = rank.template take<R>(p, tag, queue);
    rank.template read<R>(p, queue, {theirs, count, 1, count}, {w + begin, count, 1, count});
  }
}

}  // namespace jaxmg
