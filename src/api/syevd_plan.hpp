// Sizes of an eigenvalue call, and the workspace that follows from them.
#pragma once

#include <type_traits>

#include "api/band_reduction_plan.hpp"
#include "api/bulge_chasing_plan.hpp"
#include "api/cholesky_plan.hpp"
#include "api/tridiagonal_workspace.hpp"

namespace jaxmg {

/// How a rank's eigenvectors leave a call: as the columns that they are, or as the rows of V^H,
/// which a row-major array of conjugated columns is.
enum class Eigenvectors { none, columns, rows };

/// What every rank of a call agrees on.
struct SyevdProblem {
  index_t columns;  ///< storage columns and rows, a multiple of the ranks
  index_t order;    ///< true order, at most `columns`
  int ranks;
  index_t tile;
  Eigenvectors eigenvectors;
  bool in_place;                 ///< A's own storage becomes the working matrix
  BandReductionSizes band = {};  ///< bandwidth, and columns of reflectors in an update
  bool on_one_rank = false;      ///< so small that LAPACK, on rank 0 alone, is fastest
  Engine engine = Engine::jaxmg;

  bool with_vectors() const { return eigenvectors != Eigenvectors::none; }
  BlockCyclic layout() const { return {columns, ranks, tile, order}; }
  /// As a call that only redistributes.
  CholeskyProblem matrix() const {
    return {columns, order, ranks, tile, 0, in_place, false, false, engine};
  }
  /// Chunks of some 16 b sweeps, but so that there are a few for each rank; diamonds of b sweeps.
  BulgeChasingPlan bulge_chasing() const {
    const index_t b = band.bandwidth;
    const index_t chunk = std::clamp<index_t>(order / (4 * ranks), 1, 16 * b);
    return {order, b, ranks, chunk, b, 8};
  }
  /// Columns of the result on rank p that count.
  index_t columns_of_rank(int p) const {
    const index_t n_loc = columns / ranks;
    return std::clamp<index_t>(order - p * n_loc, 0, n_loc);
  }
};

/// Throws InvalidArgument on sizes that make no sense. A tile or a bandwidth of 0 is one to be
/// chosen.
void validate(const SyevdProblem& problem);

/// `problem` with its tile, bandwidth and block: the given ones, the tile at most n_loc, or, where
/// they are 0, some that were measured on CPUs, and estimates for GPUs. If the tile is 0, what is
/// small enough goes to one rank. cuSOLVERMg runs all sizes itself, and takes tiles up to 1024;
/// wider ones are refused. Throws InvalidArgument.
SyevdProblem planned(const SyevdProblem& problem, Platform platform, DType dtype);

/// A rank's workspace, of rank p: a formula of the problem, the dtype, p, and how peers are read.
///
/// For the length of a call, with n_loc = n / P: the working copy of A, n n_loc elements (none in
/// place); the band and the factors of its reflectors, (b + 1) n + b n_loc. With eigenvectors also
/// n n_loc elements for Z, or for V^H where V is the result, and this rank's chunks of bulge
/// reflectors, some n n_loc / 2. The scratch of the stages shares one storage: that of the
/// reduction is 2 K (n + n_loc) + 3 b (n + n_loc) elements, that of divide and conquer 512 n real
/// numbers and 14 n of 8 bytes. On one rank alone it is n^2.
template <Scalar T>
struct SyevdWorkspace {
  using R = real_t<T>;

  double* largest;
  double* all_largest;   ///< one a rank
  MatrixView<T> matrix;  ///< working copy (not in place)
  BandForm<T> band;
  TridiagonalForm<T> tridiagonal;
  T* other = nullptr;  ///< columns x n_loc elements: of V^H, or, where that is the result, of Z
  std::int32_t* infos = nullptr;  ///< of divide and conquer, which peers read

  MatrixView<T> staging;
  PanelStorage<T> panels;
  // These share their storage, stage by stage, with each other and with the former two.
  BandReductionWork<T> reduction;
  BulgeChasingWork<T> chasing;
  DivideAndConquerWork<R> merging;
  R* own_eigenvalues = nullptr;
  BulgeBackTransformWork<T> from_tridiagonal;
  BandBackTransformWork<T> from_band;

  // On one rank alone.
  R* w = nullptr;
  std::int32_t* info = nullptr;

  static SyevdWorkspace carve(Arena& arena, const SyevdProblem& problem, int p,
                              bool reads_peers_directly);
  static std::size_t bytes(const SyevdProblem& problem, int p, bool reads_peers_directly) {
    Arena arena;
    carve(arena, problem, p, reads_peers_directly);
    return arena.bytes();
  }
  /// What suffices for every rank.
  static std::size_t most_bytes(const SyevdProblem& problem, bool reads_peers_directly) {
    std::size_t most = 0;
    for (int p = 0; p < problem.ranks; ++p) {
      most = std::max(most, bytes(problem, p, reads_peers_directly));
    }
    return most;
  }
};

template <Scalar T>
SyevdWorkspace<T> SyevdWorkspace<T>::carve(Arena& arena, const SyevdProblem& problem, int p,
                                           bool reads_peers_directly) {
  const index_t n = problem.order;
  SyevdWorkspace work{};
  work.largest = arena.take<double>(1);
  work.all_largest = arena.take<double>(problem.ranks);
  if (problem.on_one_rank) {
    work.matrix = arena.take_matrix<T>(n, n);
    work.w = arena.take<R>(n);
    work.info = arena.take<std::int32_t>(1);
    return work;
  }
  const BlockCyclic layout = problem.layout();
  const index_t n_loc = layout.local_columns();
  const BulgeChasingPlan plan = problem.bulge_chasing();
  if (!problem.in_place) {
    work.matrix = take_working_copy<T>(arena, problem.columns, n_loc);
  }
  work.band = carve_band_form<T>(arena, layout, problem.band.bandwidth);
  work.tridiagonal = carve_tridiagonal_form<T>(arena, plan, p, problem.with_vectors());
  if (problem.with_vectors()) {
    work.other = arena.take<T>(problem.columns * n_loc);
    work.infos = arena.take<std::int32_t>(problem.ranks + 1);
  }

  const Arena kept = arena;
  const auto stage = [&](const auto& take) {
    Arena own = kept;
    take(own);
    arena.cover(own);
  };
  stage([&](Arena& own) {
    if (problem.in_place) {
      work.staging = own.take_matrix<T>(problem.columns, staging_columns(layout));
    }
    if (!reads_peers_directly && problem.ranks > 1) {
      work.panels = take_panels<T>(own, n, problem.tile);
    }
  });
  stage([&](Arena& own) { work.reduction = carve_band_reduction<T>(own, layout, problem.band); });
  stage([&](Arena& own) {
    work.chasing = carve_bulge_chasing<T>(own, plan, p, problem.with_vectors());
  });
  if (!problem.with_vectors()) {
    stage([&](Arena& own) { work.own_eigenvalues = own.take<R>(n); });
    return work;
  }
  stage([&](Arena& own) { work.merging = take_merge_work<R>(own, n); });
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
