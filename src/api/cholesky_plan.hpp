// Sizes of a Cholesky call, and the workspace that follows from them.
#pragma once

#include "algorithms/cholesky/solve.hpp"
#include "algorithms/redistribute/in_place.hpp"
#include "api/arena.hpp"

namespace jaxmg {

/// `cpu_processes`: CPU ranks that are not all in one process.
enum class Platform : std::int32_t { cpu = 0, cuda = 1, cpu_processes = 2 };

/// Whose algorithms a call runs: this library's, or those of a library that is called once for all
/// devices (see engines/team_solver.hpp).
enum class Engine : std::int32_t { jaxmg = 0, cusolvermg = 1 };

constexpr const char* to_string(Engine engine) {
  return engine == Engine::jaxmg ? "jaxmg" : "cusolvermg";
}

/// What every rank of a call agrees on.
struct CholeskyProblem {
  index_t columns;  ///< storage columns and rows, a multiple of the ranks
  index_t order;    ///< true order, at most `columns`
  int ranks;
  index_t tile;
  index_t rhs;               ///< right-hand sides; 0 for a factorisation alone
  bool in_place;             ///< A's own storage becomes the working matrix
  bool on_one_rank = false;  ///< rank 0 alone is fastest: see planned()
  bool kept = false;         ///< the working matrix and the tiles' inverses are results
  Engine engine = Engine::jaxmg;

  BlockCyclic layout() const { return {columns, ranks, tile, order}; }
  /// Whether a lone rank's own storage is all that its work needs.
  bool in_place_on_one_rank() const { return on_one_rank && in_place && ranks == 1; }
};

/// Throws InvalidArgument on sizes that make no sense. A tile of 0 is one to be chosen.
void validate(const CholeskyProblem& problem);

/// `problem` with its tile: the given one, at most n_loc, or, if it is 0, one that was measured to
/// be good. Only then may the whole job go to one rank: a given tile is honoured. Throws
/// InvalidArgument if its engine is not one of the platform's.
CholeskyProblem planned(const CholeskyProblem& problem, Platform platform, DType dtype);

/// The same for an inverse: cuSOLVERMg's are wrong from a tile of 1024 on, which is refused.
CholeskyProblem planned_inverse(const CholeskyProblem& problem, Platform platform, DType dtype);

/// `problem`, of whatever routine, for cuSOLVERMg: with the given tile, at most n_loc, or, if it is
/// 0, one of at most `widest` columns. Throws InvalidArgument where there are no GPUs, and where a
/// size is no int.
CholeskyProblem planned_for_cusolvermg(const CholeskyProblem& problem, Platform platform,
                                       index_t widest);

/// Scalars that a call keeps in device memory, one set a rank.
struct CholeskyScalars {
  std::int32_t* info;
  std::int32_t* infos;  ///< one a rank
  double* share;        ///< of log det A: this rank's
  double* shares;       ///< one a rank
  double* logdet;       ///< of all ranks

  static CholeskyScalars carve(Arena& arena, int ranks) {
    return {arena.take<std::int32_t>(1), arena.take<std::int32_t>(ranks), arena.take<double>(1),
            arena.take<double>(ranks), arena.take<double>(1)};
  }
};

/// What the workspace depends on besides the problem and the dtype.
struct BackendTraits {
  PanelMethod panel_method;
  bool reads_peers_directly;
};

/// The traits of calls from Python: CPU ranks of one process share its memory.
constexpr BackendTraits traits_of(Platform platform) {
  return platform == Platform::cuda ? BackendTraits{PanelMethod::block_substitution, false}
                                    : BackendTraits{PanelMethod::trsm, platform == Platform::cpu};
}

/// A rank's workspace. Its size is a formula of the problem, the dtype and the backend's traits.
template <Scalar T>
struct CholeskyWorkspace {
  MatrixView<T> matrix;   ///< working copy (not in place), of all columns if on one rank
  MatrixView<T> staging;  ///< two tile columns (in place); shares its storage with what follows
  PanelStorage<T> panels;
  SubstitutionWork<T> substitution;
  SolveWork<T> solve;
  MatrixView<T> U;  ///< nrhs x n
  CholeskyScalars scalars;

  static CholeskyWorkspace carve(Arena& arena, const CholeskyProblem& problem,
                                 const BackendTraits& traits);
  static std::size_t bytes(const CholeskyProblem& problem, const BackendTraits& traits) {
    Arena arena;
    carve(arena, problem, traits);
    return arena.bytes();
  }
};

/// Leading dimension of a working copy with `rows` rows: whole cache lines.
template <Scalar T>
index_t padded_ld(index_t rows) {
  const auto line = static_cast<index_t>(128 / sizeof(T));
  return (rows + line - 1) / line * line;
}

/// A working copy of `cols` columns, with such a leading dimension.
template <Scalar T>
MatrixView<T> take_working_copy(Arena& arena, index_t rows, index_t cols) {
  const index_t ld = padded_ld<T>(rows);
  return {arena.take<T>(ld * cols), rows, cols, ld};
}

template <Scalar T>
PanelStorage<T> take_panels(Arena& arena, index_t rows, index_t cols) {
  PanelStorage<T> panels;
  for (MatrixView<T>& slot : panels) slot = arena.take_matrix<T>(rows, cols);
  return panels;
}

/// Of block substitution, for tiles of this width; nothing where panels are solved otherwise.
template <Scalar T>
SubstitutionWork<T> take_substitution_work(Arena& arena, const BlockCyclic& layout, index_t tile,
                                           PanelMethod method) {
  if (method != PanelMethod::block_substitution) return {};
  return {arena.take_matrix<T>(tile, tile), arena.take_matrix<T>(widest_substitution_block, tile),
          arena.take_matrix<T>(tallest_chunk(layout), tile)};
}

template <Scalar T>
CholeskyWorkspace<T> CholeskyWorkspace<T>::carve(Arena& arena, const CholeskyProblem& p,
                                                 const BackendTraits& traits) {
  const BlockCyclic layout = p.layout();
  const index_t tile = std::min(p.tile, layout.local_columns());
  CholeskyWorkspace work;
  work.scalars = CholeskyScalars::carve(arena, p.ranks);
  if (p.on_one_rank) {
    if (!p.in_place_on_one_rank()) {
      work.matrix = take_working_copy<T>(arena, p.columns, p.columns);
    }
    return work;
  }
  Arena redistribution = arena;
  if (p.in_place) {
    work.staging = redistribution.take_matrix<T>(p.columns, staging_columns(layout));
  } else if (!p.kept) {
    work.matrix = take_working_copy<T>(arena, p.columns, layout.local_columns());
  }
  if (!traits.reads_peers_directly && p.ranks > 1) {
    work.panels = take_panels<T>(arena, p.columns, tile);
  }
  work.substitution = take_substitution_work<T>(arena, layout, tile, traits.panel_method);
  if (traits.panel_method == PanelMethod::block_substitution && p.rhs > 0) {
    work.solve = {arena.take_matrix<T>(tile, layout.local_columns()),
                  arena.take_matrix<T>(p.rhs, tile)};
  }
  work.U = arena.take_matrix<T>(p.rhs, p.order);
  arena.cover(redistribution);
  return work;
}

}  // namespace jaxmg
