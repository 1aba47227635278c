// How a call's matrix becomes the one that its ranks work in.
#pragma once

#include "algorithms/redistribute/in_place.hpp"
#include "algorithms/redistribute/out_of_place.hpp"
#include "api/cholesky_plan.hpp"

namespace jaxmg {

/// Where the working matrix comes to be, unless that is A itself.
template <Scalar T>
struct WorkingStorage {
  MatrixView<T> matrix;   ///< for a copy (not in place)
  MatrixView<T> staging;  ///< see permute_in_place() (in place)
};

/// The working matrix in the cyclic layout, its lower triangle: A itself, permuted, or a copy,
/// pulled. Afterwards all queues wait for it.
template <Backend B, Scalar T>
MatrixView<T> distribute(Rank<B>& rank, const CholeskyProblem& problem, MatrixView<T> A,
                         const WorkingStorage<T>& storage) {
  const BlockCyclic layout = problem.layout();
  if (problem.in_place) {
    permute_in_place<B, T>(rank, layout, block_to_cyclic_cycles(layout), A, storage.staging,
                           Rows::from_diagonal);
  } else {
    block_to_cyclic<B, T>(rank, layout, A, storage.matrix, Rows::from_diagonal);
  }
  const auto distributed = rank.copies().record();
  for (auto* queue : {&rank.panel(), &rank.ahead(), &rank.bulk()}) queue->wait(distributed);
  return problem.in_place ? A : storage.matrix;
}

/// M := the lower triangle of A, `order` wide, by one rank from all ranks' blocks: from what each
/// has posted under `tag`, with A's shape.
template <class B, Scalar T>
void pull_lower(Rank<B>& rank, index_t tag, MatrixView<const T> A, index_t order, MatrixView<T> M) {
  auto& panel = rank.panel();
  for (int p = 0; p < rank.size(); ++p) {
    const index_t first = std::min(p * A.cols, order), last = std::min(first + A.cols, order);
    const MatrixView<const T> block(rank.template take<T>(p, tag, panel), order, last - first,
                                    A.ld);
    rank.template read<T>(p, panel, block.row_range(first, order),
                          M.block(first, first, order - first, last - first));
  }
}

}  // namespace jaxmg
