// Hermitian test matrices for eigensolvers.
#pragma once

#include <array>
#include <string>

#include "testing/host_matrix.hpp"

namespace jaxmg_testing {

/// Q is a random unitary matrix.
enum class EigenKind {
  random,           ///< uniform entries
  geometric,        ///< Q D Q^H, |d| from 1 down to eps, alternating signs
  arithmetic,       ///< Q D Q^H, d from -1 to 1 in equal steps
  clusters,         ///< Q D Q^H, half of the spectrum at 1 and half at eps, both within eps
  equal,            ///< Q Q^H up to rounding
  zero,             ///< 0
  identity,         ///< I
  diagonal,         ///< diag(1 .. n)
  wilkinson,        ///< tridiagonal, |i - (n - 1) / 2| on the diagonal, 1 beside it
  glued_wilkinson,  ///< Q A Q^H, A of Wilkinson matrices of order 21 glued by sqrt(eps)
  graded_down,      ///< entries from 1e300 in the first row to 1e-300 in the last, scaled
  graded_up,        ///< the other way round
  rank_one,         ///< v v^H
  nan,              ///< random, with one NaN and its mirror image
};

inline constexpr std::array all_eigen_kinds = {
    EigenKind::random,    EigenKind::geometric,   EigenKind::arithmetic,      EigenKind::clusters,
    EigenKind::equal,     EigenKind::zero,        EigenKind::identity,        EigenKind::diagonal,
    EigenKind::wilkinson, EigenKind::graded_down, EigenKind::glued_wilkinson, EigenKind::graded_up,
    EigenKind::rank_one,  EigenKind::nan,
};

/// The word for a kind on a command line.
const char* to_string(EigenKind kind);
/// What such a matrix is, in a few words for a help text.
const char* description(EigenKind kind);
/// Throws std::invalid_argument for a word that names no kind; the message lists those that do.
EigenKind eigen_kind_from_string(const std::string& word);

/// Both triangles, exactly Hermitian, real diagonal, scaled by a power of two to max |a| in
/// [0.5, 1) as an eigensolver does first; what is too small for T then is 0. Computed in double
/// precision and rounded once: O(n^3) for those with a Q.
template <Scalar T>
HostMatrix<T> make_eigen_matrix(EigenKind kind, index_t n, unsigned seed = 1);

}  // namespace jaxmg_testing
