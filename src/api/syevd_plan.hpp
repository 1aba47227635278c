// Sizes of an eigenvalue call, and the workspace that follows from them.
#pragma once

#include <type_traits>

#include "api/band_reduction_plan.hpp"
#include "api/bulge_chasing_plan.hpp"
#include "api/cholesky_plan.hpp"
#include "api/tridiagonal_workspace.hpp"

namespace jaxmg {

/// What every rank of a call agrees on.
struct SyevdProblem {
  index_t columns;  ///< storage columns and rows, a multiple of the ranks
  index_t order;    ///< true order, at most `columns`
  int ranks;
  index_t tile;
  bool eigenvectors;
  bool in_place;            ///< A's own storage becomes the working matrix
  BandReductionSizes band;  ///< bandwidth, and columns of reflectors in an update

  BlockCyclic layout() const { return {columns, ranks, tile, order}; }
  /// As a call that only redistributes.
  CholeskyProblem matrix() const { return {columns, order, ranks, tile, 0, in_place}; }
  /// Chunks of some n / b sweeps, but so that there are a few for each rank; diamonds of b sweeps.
  BulgeChasingPlan bulge_chasing() const {
    const index_t b = band.bandwidth;
    const index_t chunk = std::clamp<index_t>(order / (4 * ranks), 1, 8 * b);
    return {order, b, ranks, chunk, b, 8, 512};
  }
  /// Columns of the result on rank p that count.
  index_t columns_of_rank(int p) const {
    const index_t n_loc = columns / ranks;
    return std::clamp<index_t>(order - p * n_loc, 0, n_loc);
  }
};

/// Scratch of mirror(), for several ranks that pull.
template <Scalar T>
PanelStorage<T> take_mirror_panels(Arena& arena, const SyevdProblem& problem) {
  PanelStorage<T> panels;
  for (MatrixView<T>& slot : panels) slot = arena.take_matrix<T>(problem.order, problem.tile);
  return panels;
}

/// A rank's workspace, of rank p: a formula of the problem, the dtype, p, and how peers are read.
///
/// For the length of a call, with n_loc = n / P: the working copy of A, n n_loc elements (none in
/// place); the band and the factors of its reflectors, (b + 1) n + b n_loc. With eigenvectors also
/// this rank's chunks of bulge reflectors, some n n_loc / 2, and for complex types the real
/// eigenvectors of the tridiagonal matrix, n n_loc real numbers. The scratch of the stages shares
/// one storage; the largest is that of divide and conquer, n n_loc + 512 n real numbers and 20 n
/// of 8 bytes, or for small n_loc that of the reduction, 2 K (n + n_loc).
template <Scalar T>
struct SyevdWorkspace {
  using R = real_t<T>;

  double* largest;
  double* all_largest;   ///< one a rank
  MatrixView<T> matrix;  ///< working copy (not in place)
  BandForm<T> band;
  TridiagonalForm<T> tridiagonal;
  MatrixView<R> Z;  ///< n x n_loc, for complex types

  // These share their storage, stage by stage.
  MatrixView<T> staging;
  PanelStorage<T> panels;
  BandReductionWork<T> reduction;
  BulgeChasingWork<T> chasing;
  DivideAndConquerWork<R> merging;
  R* own_eigenvalues = nullptr;
  BulgeBackTransformWork<T> from_tridiagonal;
  BandBackTransformWork<T> from_band;

  static SyevdWorkspace carve(Arena& arena, const SyevdProblem& problem, int p,
                              bool reads_peers_directly);
  static std::size_t bytes(const SyevdProblem& problem, int p, bool reads_peers_directly) {
    Arena arena;
    carve(arena, problem, p, reads_peers_directly);
    return arena.bytes();
  }
};

template <Scalar T>
SyevdWorkspace<T> SyevdWorkspace<T>::carve(Arena& arena, const SyevdProblem& problem, int p,
                                           bool reads_peers_directly) {
  const BlockCyclic layout = problem.layout();
  const index_t n = problem.order, n_loc = layout.local_columns();
  const BulgeChasingPlan plan = problem.bulge_chasing();
  SyevdWorkspace work{};
  work.largest = arena.take<double>(1);
  work.all_largest = arena.take<double>(problem.ranks);
  if (!problem.in_place) {
    const index_t ld = padded_ld<T>(problem.columns);
    work.matrix = {arena.take<T>(ld * n_loc), problem.columns, n_loc, ld};
  }
  work.band = carve_band_form<T>(arena, layout, problem.band.bandwidth);
  work.tridiagonal = carve_tridiagonal_form<T>(arena, plan, p, problem.eigenvectors);
  if (problem.eigenvectors && is_complex_v<T>) work.Z = arena.take_matrix<R>(n, n_loc);

  const Arena kept = arena;
  const auto stage = [&](const auto& take) {
    Arena own = kept;
    take(own);
    arena.cover(own);
  };
  stage([&](Arena& own) {
    if (problem.in_place)
      work.staging = own.take_matrix<T>(problem.columns, staging_columns(layout));
  });
  stage([&](Arena& own) {
    if (!reads_peers_directly && problem.ranks > 1) {
      work.panels = take_mirror_panels<T>(own, problem);
    }
  });
  stage([&](Arena& own) { work.reduction = carve_band_reduction<T>(own, layout, problem.band); });
  stage([&](Arena& own) {
    work.chasing = carve_bulge_chasing<T>(own, plan, p, problem.eigenvectors);
  });
  if (!problem.eigenvectors) {
    stage([&](Arena& own) { work.own_eigenvalues = own.take<R>(n); });
    return work;
  }
  stage([&](Arena& own) { work.merging = take_divide_and_conquer_work<R>(own, n, problem.ranks); });
  const index_t m = problem.columns_of_rank(p);
  stage([&](Arena& own) {
    work.from_tridiagonal = carve_bulge_back_transform<T>(own, plan, m, reads_peers_directly);
  });
  stage([&](Arena& own) {
    work.from_band = carve_band_back_transform<T>(own, layout, problem.band.block, m);
  });
  return work;
}

}  // namespace jaxmg
