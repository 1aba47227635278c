// How much workspace the tridiagonal eigensolvers take, and where in it their arrays are.
#pragma once

#include "algorithms/eigen/tridiagonal/divide_and_conquer.hpp"
#include "api/arena.hpp"

namespace jaxmg {

/// Eigenvectors of a secular equation that are made and multiplied at once: wide enough for a
/// product to run at its full speed.
constexpr index_t secular_columns = 512;

/// The scratch of divide_and_conquer() for order n but for Q and `infos`, which peers read until
/// they have met this rank again.
template <class R>
DivideAndConquerWork<R> take_merge_work(Arena& arena, index_t n,
                                        index_t columns = secular_columns) {
  DivideAndConquerWork<R> work{};
  work.S = arena.take_matrix<R>(n, std::min(n, columns));
  work.row = arena.take<R>(n);
  for (double** array : {&work.d, &work.e, &work.poles, &work.z, &work.weights, &work.shown_d}) {
    *array = arena.take<double>(n);
  }
  work.columns = arena.take<index_t>(n + 1);
  work.rows = arena.take<index_t>(n);
  work.roots = arena.take<SecularRoot>(n);
  work.rotations = arena.take<Rotation>(n);
  return work;
}

/// All scratch of divide_and_conquer() on `ranks` ranks, the same on all of them.
template <class R>
DivideAndConquerWork<R> take_divide_and_conquer_work(Arena& arena, index_t n, int ranks,
                                                     index_t columns = secular_columns) {
  DivideAndConquerWork<R> work = take_merge_work<R>(arena, n, columns);
  work.Q = arena.take<R>(Shares{0, n, ranks}.largest() * n);
  work.infos = arena.take<std::int32_t>(ranks + 1);
  return work;
}

}  // namespace jaxmg
