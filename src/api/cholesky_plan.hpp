// Sizes of a Cholesky call, and the workspace that follows from them.
#pragma once

#include <array>

#include "algorithms/cholesky/factor.hpp"
#include "algorithms/redistribute/in_place.hpp"
#include "api/arena.hpp"

namespace jaxmg {

/// What every rank of a call agrees on.
struct CholeskyProblem {
  index_t columns;  ///< storage columns and rows, a multiple of the ranks
  index_t order;    ///< true order, at most `columns`
  int ranks;
  index_t tile;
  index_t rhs;    ///< right-hand sides; 0 for a factorisation alone
  bool in_place;  ///< A's own storage becomes the working matrix

  BlockCyclic layout() const { return {columns, ranks, tile, order}; }
};

/// Throws InvalidArgument on sizes that make no sense.
void validate(const CholeskyProblem& problem);

/// The tile that potrf and potrs take when the caller names none.
index_t default_cholesky_tile(DType dtype, index_t columns, int ranks);

/// Scalars that a call keeps in device memory, one set a rank.
struct CholeskyScalars {
  std::int32_t* info;
  std::int32_t* infos;  ///< one a rank
  double* share;        ///< of log det A: this rank's
  double* shares;       ///< one a rank
  double* logdet;       ///< of all ranks
};

/// A rank's workspace. Its size is a formula of the problem, the dtype and the backend.
template <Backend B, Scalar T>
struct CholeskyWorkspace {
  MatrixView<T> matrix;   ///< working copy (not in place)
  MatrixView<T> staging;  ///< two tile columns (in place)
  std::array<MatrixView<T>, 2> ring;
  SubstitutionWork<T> substitution;
  MatrixView<T> U;  ///< nrhs x n
  CholeskyScalars scalars;

  static CholeskyWorkspace carve(Arena& arena, const CholeskyProblem& problem,
                                 bool reads_peers_directly);
  static std::size_t bytes(const CholeskyProblem& problem, bool reads_peers_directly) {
    Arena arena;
    carve(arena, problem, reads_peers_directly);
    return arena.bytes();
  }
};

/// Leading dimension of a working copy with `rows` rows: whole cache lines.
template <Scalar T>
index_t padded_ld(index_t rows) {
  const auto line = static_cast<index_t>(128 / sizeof(T));
  return (rows + line - 1) / line * line;
}

template <Backend B, Scalar T>
CholeskyWorkspace<B, T> CholeskyWorkspace<B, T>::carve(Arena& arena, const CholeskyProblem& p,
                                                       bool reads_peers_directly) {
  const BlockCyclic layout = p.layout();
  const index_t tile = std::min(p.tile, layout.local_columns());
  CholeskyWorkspace work;
  work.scalars = {arena.take<std::int32_t>(1), arena.take<std::int32_t>(p.ranks),
                  arena.take<double>(1), arena.take<double>(p.ranks), arena.take<double>(1)};
  if (p.in_place) {
    work.staging = arena.take_matrix<T>(p.columns, staging_columns(layout));
  } else {
    const index_t ld = padded_ld<T>(p.columns);
    work.matrix = {arena.take<T>(ld * layout.local_columns()), p.columns, layout.local_columns(),
                   ld};
  }
  if (!reads_peers_directly && p.ranks > 1) {
    for (MatrixView<T>& slot : work.ring) slot = arena.take_matrix<T>(p.columns, tile);
  }
  if constexpr (B::panel_method == PanelMethod::block_substitution) {
    work.substitution = {arena.take_matrix<T>(tile, tile),
                         arena.take_matrix<T>(substitution_block, tile),
                         arena.take_matrix<T>(p.columns, substitution_block)};
  }
  work.U = arena.take_matrix<T>(p.rhs, p.order);
  return work;
}

}  // namespace jaxmg
