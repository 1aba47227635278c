// A symmetric tridiagonal matrix as the direct sum of unreduced blocks, each scaled by itself.
#pragma once

#include <vector>

#include "jaxmg/types.hpp"

namespace jaxmg {

/// The blocks of a symmetric tridiagonal matrix T of order n.
///
/// T is cut where an off-diagonal is negligible, |e_i| <= eps sqrt|d_i| sqrt|d_i+1|, and each block
/// is scaled by a power of two of its own so that its largest entry is in [0.5, 1), as LAPACK's
/// stedc does: a small block keeps its relative accuracy beside a large one. O(n) on the host.
class TridiagonalBlocks {
 public:
  /// `eps`: the relative precision, half a unit in the last place of 1.
  TridiagonalBlocks(std::vector<double> d, std::vector<double> e, double eps);

  /// Whether all entries are; if not, nothing else may be asked.
  bool finite() const { return finite_; }

  index_t order() const { return static_cast<index_t>(d_.size()); }
  /// The block of row i: rows begin(i) up to end(i).
  index_t begin(index_t i) const { return begin_[at(i)]; }
  index_t end(index_t i) const { return end_[at(i)]; }

  /// Of the scaled blocks. coupling(i), between rows i - 1 and i, is zero at a block's border.
  double diagonal(index_t i) const { return d_[at(i)]; }
  double coupling(index_t i) const { return i > 0 && i < order() ? e_[at(i - 1)] : 0; }

  /// Takes the rank-one part out at row `cut`: T = T' + |e| v v^T, e the coupling, v zero but for
  /// v_cut-1 = 1 and v_cut = sign e, and T' the sum of two matrices.
  void tear(index_t cut);

  /// What an eigenvalue of row i's scaled block is one of T's.
  double unscaled(index_t i, double eigenvalue) const;

 private:
  static std::size_t at(index_t i) { return static_cast<std::size_t>(i); }
  void find_blocks(double eps);
  void scale_blocks();

  std::vector<double> d_, e_;
  std::vector<index_t> begin_, end_;
  std::vector<int> exponent_;
  bool finite_ = true;
};

}  // namespace jaxmg
