// Workspace of bulge chasing and its back-transform: formulas of sizes.
#pragma once

#include "algorithms/eigen/back_transform/of_bulge_chasing.hpp"
#include "algorithms/eigen/bulge_chasing/bulge_chasing.hpp"
#include "api/arena.hpp"
#include "api/cholesky_plan.hpp"

namespace jaxmg {

/// What every rank of a call agrees on. The last three are for speed and memory alone.
struct BulgeChasingPlan {
  index_t order;
  index_t bandwidth;
  int ranks;
  index_t chunk;  ///< sweeps in a chunk
  index_t group;  ///< sweeps in a diamond; the bandwidth takes the fewest flops
  index_t waves;  ///< whose diamonds are formed at a time

  BulgeSweeps sweeps() const { return {order, bandwidth, ranks, chunk}; }
  /// Of the first chunk, which has the most of everything.
  DiamondWaves widest() const {
    const BulgeSweeps s = sweeps();
    if (s.chunks() == 0) return {s.bandwidth(), 0, 0, group};
    return {s.bandwidth(), s.sweeps(0), s.levels(0), group};
  }
};

/// Where rank p keeps its results.
template <Scalar T>
TridiagonalForm<T> carve_tridiagonal_form(Arena& arena, const BulgeChasingPlan& plan, int p,
                                          bool eigenvectors) {
  const BulgeSweeps sweeps = plan.sweeps();
  const index_t n = plan.order;
  TridiagonalForm<T> form;
  form.d = arena.take<real_t<T>>(n);
  form.e = arena.take<real_t<T>>(n);
  if (!eigenvectors) return form;
  form.phases = arena.take<T>(std::max<index_t>(n, 1));
  form.reflectors = arena.take_matrix<T>(sweeps.bandwidth(), sweeps.columns_of_rank(p));
  return form;
}

template <Scalar T>
BulgeChasingWork<T> carve_bulge_chasing(Arena& arena, const BulgeChasingPlan& plan, int p,
                                        bool eigenvectors) {
  const BulgeSweeps sweeps = plan.sweeps();
  BulgeChasingWork<T> work;
  if (p != 0) return work;
  work.band = arena.take_matrix<T>(2 * sweeps.bandwidth(), plan.order);
  work.scratch = {arena.take<std::int32_t>(plan.order),
                  arena.take<std::uint64_t>(chase_letters<T>(plan.order, sweeps.bandwidth()))};
  if (!eigenvectors || plan.ranks == 1) return work;
  for (MatrixView<T>& slot : work.staging) {
    slot = arena.take_matrix<T>(sweeps.bandwidth(), sweeps.most_columns());
  }
  return work;
}

/// For m rows of U.
template <Scalar T>
BulgeBackTransformWork<T> carve_bulge_back_transform(Arena& arena, const BulgeChasingPlan& plan,
                                                     index_t m, bool reads_peers_directly) {
  const BulgeSweeps sweeps = plan.sweeps();
  const DiamondWaves widest = plan.widest();
  const index_t size = widest.height();
  BulgeBackTransformWork<T> work;
  if (!reads_peers_directly && plan.ranks > 1) {
    for (MatrixView<T>& slot : work.chunks) {
      slot = arena.take_matrix<T>(sweeps.bandwidth(), sweeps.most_columns());
    }
  }
  if (m == 0) return work;
  for (MatrixView<T>& slot : work.diamonds) {
    const index_t waves = std::min(plan.waves, widest.waves());
    slot = arena.take_matrix<T>(size, size * widest.groups() * waves);
  }
  return work;
}

}  // namespace jaxmg
