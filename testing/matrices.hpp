// Test matrices: what a kind of matrix is called, how it is made, and what a factorisation of it
// must report.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>

#include "testing/host_matrix.hpp"

namespace jaxmg_testing {

/// Random spectra alone do not find weak algorithms: kernel matrices of sorted points concentrate
/// their small eigenvalues in every leading block, which random orthogonal vectors never do.
enum class Kind {
  spd,
  clustered,
  rbf_sorted,
  rbf_shuffled,
  matern_sorted,
  matern_shuffled,
  dominant,
  indefinite,
  nan,
};

inline constexpr std::array all_kinds = {
    Kind::spd,          Kind::clustered,     Kind::rbf_sorted,
    Kind::rbf_shuffled, Kind::matern_sorted, Kind::matern_shuffled,
    Kind::dominant,     Kind::indefinite,    Kind::nan,
};

/// The word for a kind on a command line.
const char* to_string(Kind kind);
/// What such a matrix is, in a few words for a help text.
const char* description(Kind kind);
/// Throws std::invalid_argument for a word that names no kind; the message lists those that do.
Kind kind_from_string(const std::string& word);

/// Has positive eigenvalues, whatever the seed.
bool is_positive_definite(Kind kind);

/// The largest condition number at which a Cholesky factorisation in precision `dtype` has to
/// succeed: 0.1 / eps for a given spectrum, 1e14 (1e7 in single precision) for kernels. 1e3 for the
/// kinds that are to fail at a known minor; infinite for those without a condition to choose.
double highest_kappa(Kind kind, jaxmg::DType dtype);

/// Equal recipes make equal matrices, on every platform up to rounding.
struct Recipe {
  Kind kind = Kind::spd;
  index_t n = 0;
  double kappa = 1e4;  ///< condition number, at least 1; see Kind for who heeds it
  unsigned seed = 1;
};

template <Scalar T>
struct TestMatrix {
  HostMatrix<T> A;  ///< both triangles, exactly Hermitian, with a real diagonal
  /// What potrf must report: 0, or the order of the first leading minor that is not positive
  /// definite or holds a NaN.
  std::int32_t first_failure = 0;
  std::optional<double> logdet;  ///< log det A by the chosen spectrum, where one was chosen
};

/// spd              Q D Q^H, geometric spectrum from 1 down to 1 / kappa
/// clustered        Q D Q^H, half of the spectrum near 1 and half near 1 / kappa
/// rbf_*, matern_*  squared-exponential and Matern-5/2 kernels of random points on a line, with a
///                  shift of the diagonal that bounds the condition by kappa. Small orders (a few
///                  tens) may be better conditioned than that
/// dominant         random, strictly diagonally dominant
/// indefinite       spd (kappa 1e3 at most) up to a random leading minor, which is indefinite
///                  although its diagonal is positive (order 1: negative)
/// nan              spd (kappa 1e3 at most) with one NaN at a random place of the lower triangle
///
/// Complex matrices are complex through and through: Q is unitary, and a kernel matrix K becomes
/// U K U^H with random phases U. Computed in double precision and rounded once.
/// Throws std::invalid_argument for a negative order or a kappa below 1.
template <Scalar T>
TestMatrix<T> make_matrix(const Recipe& recipe);

/// Puts a NaN at row i >= column j (and at its mirror image), and says so in first_failure.
template <Scalar T>
void put_nan(TestMatrix<T>& matrix, index_t i, index_t j);

/// Right-hand sides: entries uniform in [-1, 1], in both parts of complex types.
template <Scalar T>
HostMatrix<T> random_matrix(index_t rows, index_t cols, unsigned seed);

}  // namespace jaxmg_testing
