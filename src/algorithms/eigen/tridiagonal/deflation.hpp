// Deflation: which eigenpairs of the two halves a merge leaves as they are (LAPACK laed2).
#pragma once

#include <vector>

#include "device/contract_tridiagonal.hpp"

namespace jaxmg {

/// Joins rows `first` up to `cut` and `cut` up to `last`.
struct Merge {
  index_t first;
  index_t cut;
  index_t last;
};

/// What a level's merges work on, as the host sees it; element i belongs to position i of the
/// storage of eigenvectors, counted from `offset`. Two merges have no position in common.
struct LevelArrays {
  LevelArrays() = default;
  LevelArrays(index_t begin, index_t end);

  std::size_t at(index_t position) const { return static_cast<std::size_t>(position - offset); }

  index_t offset = 0;
  std::vector<double> d;         ///< eigenvalues: of the halves; then of the deflated pairs
  std::vector<double> z;         ///< the merges' vectors; then those of the secular equations
  std::vector<double> poles;     ///< of the secular equations, from each merge's first position
  std::vector<index_t> columns;  ///< the new order of the eigenvectors: see RankOneUpdate
  std::vector<index_t> rows;     ///< the place of each pole's eigenvector in that order
  std::vector<Rotation> rotations;
};

/// What is left of a merge: rotations, then an equation of order `kept`.
///
/// The eigenvectors that stay, in the order `columns`: those that are zero below the cut, those
/// that are zero nowhere, those that are zero above it, and the deflated ones. So the rows above
/// the cut need `above` of the kept ones, from the start; those below need `below`, up to the end.
struct RankOneUpdate {
  Merge merge;
  double rho = 0;
  index_t kept = 0;
  index_t above = 0;
  index_t below = 0;
  index_t first_rotation = 0;  ///< in LevelArrays::rotations
  index_t rotations = 0;
};

/// Deflates D + |coupling| v v^T, where D = diag(d) holds the eigenvalues of the halves, each at
/// its position, and z the last row of the first half's eigenvectors and the first row of the
/// second's.
///
/// With z scaled to norm 1 and rho to suit, and tol = 8 eps max(max|d|, max|z|), a pair is left as
/// it is where rho |z_i| <= tol, and where a rotation within two neighbouring eigenvalues makes
/// z_i zero at the cost of an off-diagonal up to tol. O(m log m), of which the sort is the log.
///
/// On the host: the scan is a chain from one eigenvalue to the next, and what it decides, sizes of
/// products and counts of columns, is what the host needs to go on. Bits of d and z are the same on
/// all ranks of a merge, and so is what this decides.
RankOneUpdate deflate(const Merge& merge, double coupling, double eps, LevelArrays& level);

}  // namespace jaxmg
