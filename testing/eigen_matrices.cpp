#include "testing/eigen_matrices.hpp"

#include <algorithm>
#include <cmath>
#include <functional>
#include <stdexcept>

#include "testing/matrices.hpp"

namespace jaxmg_testing {
namespace {

/// double, or complex<double>: what matrices are computed in.
template <Scalar T>
using wide_t = std::conditional_t<jaxmg::is_complex_v<T>, std::complex<double>, double>;

template <Scalar W>
void mirror(HostMatrix<W>& A) {
  for (index_t j = 0; j < A.cols(); ++j) {
    A(j, j) = W(jaxmg::real_part(A(j, j)));
    for (index_t i = 0; i < j; ++i) A(i, j) = jaxmg::conjugate(A(j, i));
  }
}

/// A := H A H with H = I - 2 v v^H for a unit vector v = direction / its norm.
template <Scalar W>
void reflect(HostMatrix<W>& A, const W* direction) {
  const index_t n = A.cols();
  double norm = 0;
  for (index_t i = 0; i < n; ++i) norm += std::norm(direction[i]);
  std::vector<W> v(direction, direction + n), u(v.size());
  for (W& entry : v) entry /= std::sqrt(norm);
  const auto at = [](index_t i) { return static_cast<std::size_t>(i); };

  // u = A v - (v^H A v) v,  H A H = A - 2 (u v^H + v u^H)
  W quotient = 0;
  for (index_t j = 0; j < n; ++j) {
    for (index_t i = 0; i < n; ++i) u[at(i)] += A(i, j) * v[at(j)];
  }
  for (index_t i = 0; i < n; ++i) quotient += jaxmg::conjugate(v[at(i)]) * u[at(i)];
  for (index_t i = 0; i < n; ++i) u[at(i)] -= std::real(quotient) * v[at(i)];
  for (index_t j = 0; j < n; ++j) {
    const W vj = 2.0 * jaxmg::conjugate(v[at(j)]), uj = 2.0 * jaxmg::conjugate(u[at(j)]);
    for (index_t i = 0; i < n; ++i) A(i, j) -= u[at(i)] * vj + v[at(i)] * uj;
  }
}

/// Q A Q^H.
template <Scalar W>
HostMatrix<W> rotated(HostMatrix<W> A, unsigned seed) {
  const index_t n = A.cols();
  if (n < 2) return A;
  const HostMatrix<W> directions = random_matrix<W>(n, n, seed);
  for (index_t k = 0; k < n; ++k) reflect(A, &directions(0, k));
  mirror(A);
  return A;
}

template <Scalar W>
HostMatrix<W> diagonal(index_t n, const std::function<double(index_t)>& entry) {
  HostMatrix<W> A(n, n);
  for (index_t i = 0; i < n; ++i) A(i, i) = entry(i);
  return A;
}

template <Scalar W>
HostMatrix<W> random_hermitian(index_t n, unsigned seed) {
  HostMatrix<W> A = random_matrix<W>(n, n, seed);
  mirror(A);
  return A;
}

/// Wilkinson matrices of this order along the diagonal; `glue` joins them.
template <Scalar W>
HostMatrix<W> wilkinson(index_t n, index_t order, double glue) {
  HostMatrix<W> A(n, n);
  for (index_t i = 0; i < n; ++i) {
    A(i, i) = std::abs(static_cast<double>(i % order) - static_cast<double>(order - 1) / 2);
    if (i + 1 == n) continue;
    A(i + 1, i) = (i + 1) % order == 0 ? glue : 1;
    A(i, i + 1) = A(i + 1, i);
  }
  return A;
}

/// a_ij 10^(exponent(i) + exponent(j)), exponents from 0 to -300, or from -300 to 0.
template <Scalar W>
HostMatrix<W> graded(index_t n, bool up, unsigned seed) {
  HostMatrix<W> A = random_hermitian<W>(n, seed);
  const auto exponent = [&](index_t i) {
    const index_t from_large = up ? n - 1 - i : i;
    return n < 2 ? 0 : -300 * static_cast<double>(from_large) / static_cast<double>(n - 1);
  };
  for (index_t j = 0; j < n; ++j) {
    for (index_t i = 0; i < n; ++i) A(i, j) *= std::pow(10, exponent(i) + exponent(j));
  }
  return A;
}

template <Scalar W>
HostMatrix<W> rank_one(index_t n, unsigned seed) {
  const HostMatrix<W> v = random_matrix<W>(n, 1, seed);
  HostMatrix<W> A(n, n);
  for (index_t j = 0; j < n; ++j) {
    for (index_t i = 0; i < n; ++i) A(i, j) = v(i, 0) * jaxmg::conjugate(v(j, 0));
  }
  mirror(A);
  return A;
}

/// In double precision, unscaled; `eps` is that of the type it is for.
template <Scalar W>
HostMatrix<W> unscaled(EigenKind kind, index_t n, double eps, unsigned seed) {
  const auto step = [n](index_t i) {
    return n < 2 ? 0 : static_cast<double>(i) / static_cast<double>(n - 1);
  };
  switch (kind) {
    case EigenKind::random:
      return random_hermitian<W>(n, seed);
    case EigenKind::geometric:
      return rotated(
          diagonal<W>(n, [&](index_t i) { return std::pow(eps, step(i)) * (i % 2 ? -1 : 1); }),
          seed);
    case EigenKind::arithmetic:
      return rotated(diagonal<W>(n, [&](index_t i) { return 2 * step(i) - 1; }), seed);
    case EigenKind::clusters:
      return rotated(diagonal<W>(n,
                                 [&](index_t i) {
                                   const double within = 1 + eps * step(i);
                                   return i % 2 == 0 ? within : eps * within;
                                 }),
                     seed);
    case EigenKind::equal:
      return rotated(diagonal<W>(n, [](index_t) { return 1; }), seed);
    case EigenKind::zero:
      return HostMatrix<W>(n, n);
    case EigenKind::identity:
      return diagonal<W>(n, [](index_t) { return 1; });
    case EigenKind::diagonal:
      return diagonal<W>(n, [](index_t i) { return static_cast<double>(i + 1); });
    case EigenKind::wilkinson:
      return wilkinson<W>(n, n, 0);
    case EigenKind::glued_wilkinson:
      return rotated(wilkinson<W>(n, 21, std::sqrt(eps)), seed);
    case EigenKind::graded_down:
      return graded<W>(n, false, seed);
    case EigenKind::graded_up:
      return graded<W>(n, true, seed);
    case EigenKind::rank_one:
      return rank_one<W>(n, seed);
    case EigenKind::nan:
      break;
  }
  HostMatrix<W> A = random_hermitian<W>(n, seed);
  if (n > 0) A(n / 2, n / 3) = A(n / 3, n / 2) = quiet_nan<W>();
  return A;
}

struct KindEntry {
  EigenKind kind;
  const char* word;
  const char* description;
};

constexpr std::array<KindEntry, all_eigen_kinds.size()> kinds = {{
    {EigenKind::random, "random", "uniform entries"},
    {EigenKind::geometric, "geometric", "spectrum from 1 down to eps, alternating signs"},
    {EigenKind::arithmetic, "arithmetic", "spectrum from -1 to 1 in equal steps"},
    {EigenKind::clusters, "clusters", "half of the spectrum at 1 and half at eps"},
    {EigenKind::equal, "equal", "all eigenvalues 1, up to rounding"},
    {EigenKind::zero, "zero", "0"},
    {EigenKind::identity, "identity", "I"},
    {EigenKind::diagonal, "diagonal", "diag(1 .. n)"},
    {EigenKind::wilkinson, "wilkinson", "Wilkinson's tridiagonal matrix"},
    {EigenKind::glued_wilkinson, "glued_wilkinson",
     "Wilkinson matrices glued by sqrt(eps), rotated"},
    {EigenKind::graded_down, "graded_down", "rows from 1e300 to 1e-300, scaled"},
    {EigenKind::graded_up, "graded_up", "the other way round"},
    {EigenKind::rank_one, "rank_one", "v v^H"},
    {EigenKind::nan, "nan", "random, with one NaN"},
}};

const KindEntry& entry_of(EigenKind kind) {
  return *std::find_if(kinds.begin(), kinds.end(),
                       [kind](const KindEntry& entry) { return entry.kind == kind; });
}

}  // namespace

const char* to_string(EigenKind kind) { return entry_of(kind).word; }
const char* description(EigenKind kind) { return entry_of(kind).description; }

EigenKind eigen_kind_from_string(const std::string& word) {
  std::string known;
  for (const KindEntry& entry : kinds) {
    if (word == entry.word) return entry.kind;
    known += (known.empty() ? "" : ", ") + std::string(entry.word);
  }
  throw std::invalid_argument("expected one of " + known + "; got '" + word + "'");
}

template <Scalar T>
HostMatrix<T> make_eigen_matrix(EigenKind kind, index_t n, unsigned seed) {
  const double eps = std::numeric_limits<real_t<T>>::epsilon();
  const HostMatrix<wide_t<T>> wide = unscaled<wide_t<T>>(kind, n, eps, seed);
  double largest = 0;
  for (const auto& entry : wide.values()) {
    if (std::abs(entry) > largest) largest = std::abs(entry);
  }
  const double scale = largest > 0 ? std::ldexp(1.0, -(std::ilogb(largest) + 1)) : 1;
  HostMatrix<T> A(n, n);
  for (index_t j = 0; j < n; ++j) {
    for (index_t i = 0; i < n; ++i) A(i, j) = T(wide(i, j) * scale);
  }
  return A;
}

template HostMatrix<float> make_eigen_matrix(EigenKind, index_t, unsigned);
template HostMatrix<double> make_eigen_matrix(EigenKind, index_t, unsigned);
template HostMatrix<std::complex<float>> make_eigen_matrix(EigenKind, index_t, unsigned);
template HostMatrix<std::complex<double>> make_eigen_matrix(EigenKind, index_t, unsigned);

}  // namespace jaxmg_testing
