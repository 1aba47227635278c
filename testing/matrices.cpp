#include "testing/matrices.hpp"

#include <cmath>
#include <random>
#include <stdexcept>
#include <utility>

namespace jaxmg_testing {
namespace {

/// Distributions of our own: the standard ones differ between libraries.
class Random {
 public:
  explicit Random(unsigned seed) : engine_(seed) {}

  /// In [0, 1).
  double uniform() { return static_cast<double>(engine_() >> 11) * 0x1p-53; }
  /// In 0 .. count - 1.
  index_t below(index_t count) {
    return static_cast<index_t>(engine_() % static_cast<std::uint64_t>(count));
  }
  /// Each part in [-1, 1).
  template <Scalar T>
  T entry() {
    const auto part = [this] { return static_cast<real_t<T>>(2 * uniform() - 1); };
    if constexpr (jaxmg::is_complex_v<T>) {
      const auto real = part();
      return T(real, part());
    } else {
      return part();
    }
  }
  /// On the unit circle; 1 for real types.
  template <Scalar T>
  T phase() {
    if constexpr (jaxmg::is_complex_v<T>) {
      return std::polar<real_t<T>>(1, static_cast<real_t<T>>(6.283185307179586 * uniform()));
    } else {
      return T(1);
    }
  }
  template <class T>
  void shuffle(std::vector<T>& values) {
    for (std::size_t i = values.size(); i > 1; --i) {
      std::swap(values[i - 1], values[static_cast<std::size_t>(below(static_cast<index_t>(i)))]);
    }
  }

 private:
  std::mt19937_64 engine_;
};

/// double, or complex<double>: what matrices are computed in.
template <Scalar T>
using wide_t = std::conditional_t<jaxmg::is_complex_v<T>, std::complex<double>, double>;

/// Rounds the lower triangle of `wide` and mirrors it, so that the result is exactly Hermitian.
template <Scalar T>
HostMatrix<T> round_and_mirror(const HostMatrix<wide_t<T>>& wide) {
  const index_t n = wide.cols();
  HostMatrix<T> A(n, n);
  for (index_t j = 0; j < n; ++j) {
    A(j, j) = T(static_cast<real_t<T>>(jaxmg::real_part(wide(j, j))));
    for (index_t i = j + 1; i < n; ++i) {
      A(i, j) = T(wide(i, j));
      A(j, i) = jaxmg::conjugate(A(i, j));
    }
  }
  return A;
}

/// Twice that precision and more, for vectors.
template <Scalar T>
using extended_t =
    std::conditional_t<jaxmg::is_complex_v<T>, std::complex<long double>, long double>;

/// A := H A H with H = I - 2 v v^H for a random unit vector v; lower triangle of A alone. Sums of n
/// terms in double precision would disturb A by sqrt(n) eps, more than an eigenvalue of 10 eps can
/// take.
template <Scalar W>
void reflect(HostMatrix<W>& A, Random& random) {
  using E = extended_t<W>;
  const index_t n = A.cols();
  std::vector<E> v_values(static_cast<std::size_t>(n)), u_values(static_cast<std::size_t>(n));
  const MatrixView<E> v(v_values.data(), n, 1, n), u(u_values.data(), n, 1, n);
  const auto conjugate = [](const E& x) -> E {
    if constexpr (jaxmg::is_complex_v<W>) return std::conj(x);
    return x;
  };
  long double norm = 0;
  for (E& entry : v_values) {
    entry = E(random.entry<W>());
    norm += std::norm(entry);
  }
  for (E& entry : v_values) entry /= std::sqrt(norm);

  // u = A v - (v^H A v) v,  H A H = A - 2 (u v^H + v u^H)
  for (index_t j = 0; j < n; ++j) {
    E row = E(A(j, j)) * v(j, 0);
    for (index_t i = j + 1; i < n; ++i) {
      const E entry(A(i, j));
      u(i, 0) += entry * v(j, 0);
      row += conjugate(entry) * v(i, 0);
    }
    u(j, 0) += row;
  }
  E quotient = 0;
  for (index_t i = 0; i < n; ++i) quotient += conjugate(v(i, 0)) * u(i, 0);
  for (index_t i = 0; i < n; ++i) u(i, 0) -= std::real(quotient) * v(i, 0);
  for (index_t j = 0; j < n; ++j) {
    const E vj = 2.0L * conjugate(v(j, 0)), uj = 2.0L * conjugate(u(j, 0));
    for (index_t i = j; i < n; ++i) A(i, j) = W(E(A(i, j)) - (u(i, 0) * vj + v(i, 0) * uj));
  }
}

/// Q D Q^H, Q a product of four random reflectors: O(n^2) for a matrix without zeros.
template <Scalar T>
TestMatrix<T> with_spectrum(std::vector<double> eigenvalues, Random& random) {
  random.shuffle(eigenvalues);
  const auto n = static_cast<index_t>(eigenvalues.size());
  HostMatrix<wide_t<T>> A(n, n);
  double logdet = 0;
  for (index_t i = 0; i < n; ++i) {
    const double eigenvalue = eigenvalues[static_cast<std::size_t>(i)];
    A(i, i) = eigenvalue;
    logdet += std::log(eigenvalue);
  }
  for (int i = 0; i < 4 && n > 1; ++i) reflect(A, random);
  return {round_and_mirror<T>(A), 0, logdet};
}

std::vector<double> geometric_spectrum(index_t n, double kappa) {
  std::vector<double> eigenvalues(static_cast<std::size_t>(n), 1.0);
  for (index_t i = 1; i < n; ++i) {
    eigenvalues[static_cast<std::size_t>(i)] =
        std::pow(kappa, -static_cast<double>(i) / static_cast<double>(n - 1));
  }
  return eigenvalues;
}

/// Clusters are 10 % wide: neither a multiple eigenvalue nor well separated.
std::vector<double> two_clusters(index_t n, double kappa, Random& random) {
  std::vector<double> eigenvalues(static_cast<std::size_t>(n), 1.0);
  for (index_t i = 1; i < n; ++i) {
    const bool high = i < (n + 1) / 2;
    const double spread = 0.1 * random.uniform();
    eigenvalues[static_cast<std::size_t>(i)] = high ? 1 - spread : (1 + spread) / kappa;
  }
  if (n > 1) eigenvalues.back() = 1 / kappa;
  return eigenvalues;
}

double squared_exponential(double distance) {
  const double r = distance / 0.2;
  return std::exp(-0.5 * r * r);
}

double matern_5_2(double distance) {
  const double r = std::sqrt(5.0) * distance / 0.5;
  return (1 + r + r * r / 3) * std::exp(-r);
}

/// U (K + shift I) U^H of points in [0, 1).
template <Scalar T>
TestMatrix<T> kernel_matrix(const Recipe& recipe, double (*kernel)(double), bool sorted) {
  Random random(recipe.seed);
  const index_t n = recipe.n;
  std::vector<double> points(static_cast<std::size_t>(n));
  for (double& point : points) point = random.uniform();
  if (sorted) std::sort(points.begin(), points.end());
  const auto value = [&](index_t i, index_t j) {
    return kernel(
        std::abs(points[static_cast<std::size_t>(i)] - points[static_cast<std::size_t>(j)]));
  };

  std::vector<wide_t<T>> phases(static_cast<std::size_t>(n));
  for (auto& phase : phases) phase = random.phase<wide_t<T>>();
  HostMatrix<wide_t<T>> A(n, n);
  std::vector<double> row_sums(static_cast<std::size_t>(n));
  for (index_t j = 0; j < n; ++j) {
    const auto column_phase = jaxmg::conjugate(phases[static_cast<std::size_t>(j)]);
    for (index_t i = j; i < n; ++i) {
      const double entry = value(i, j);
      row_sums[static_cast<std::size_t>(i)] += entry;
      if (i != j) row_sums[static_cast<std::size_t>(j)] += entry;
      A(i, j) = entry * phases[static_cast<std::size_t>(i)] * column_phase;
    }
  }
  // K's eigenvalues lie between 0 and its largest row sum.
  double bound = 0;
  for (const double sum : row_sums) bound = std::max(bound, sum);
  for (index_t j = 0; j < n; ++j) A(j, j) = value(j, j) + bound / recipe.kappa;
  return {round_and_mirror<T>(A), 0, std::nullopt};
}

template <Scalar T>
TestMatrix<T> dominant_matrix(const Recipe& recipe) {
  Random random(recipe.seed);
  const index_t n = recipe.n;
  HostMatrix<wide_t<T>> A(n, n);
  std::vector<double> row_sums(static_cast<std::size_t>(n));
  for (index_t j = 0; j < n; ++j) {
    for (index_t i = j + 1; i < n; ++i) {
      A(i, j) = random.entry<wide_t<T>>();
      row_sums[static_cast<std::size_t>(i)] += std::abs(A(i, j));
      row_sums[static_cast<std::size_t>(j)] += std::abs(A(i, j));
    }
  }
  for (index_t j = 0; j < n; ++j) A(j, j) = row_sums[static_cast<std::size_t>(j)] + 1;
  return {round_and_mirror<T>(A), 0, std::nullopt};
}

/// Row r copies row r - 1 and half of its diagonal: the Schur complement of entry (r, r) is minus
/// that half. Columns likewise.
template <Scalar T>
TestMatrix<T> indefinite_matrix(TestMatrix<T> matrix, Random& random) {
  HostMatrix<T>& A = matrix.A;
  const index_t n = A.cols();
  matrix.logdet.reset();
  if (n == 0) return matrix;
  const index_t r = n == 1 ? 0 : 1 + random.below(n - 1);
  if (n == 1) {
    A(0, 0) = T(-1);
  } else {
    for (index_t j = 0; j < n; ++j) {
      if (j == r) continue;
      A(r, j) = A(r - 1, j);
      A(j, r) = jaxmg::conjugate(A(r, j));
    }
    A(r, r) = A(r - 1, r - 1) * real_t<T>(0.5);
  }
  matrix.first_failure = static_cast<std::int32_t>(r + 1);
  return matrix;
}

struct KindEntry {
  Kind kind;
  const char* word;
  const char* description;
  bool positive_definite;
};

constexpr std::array<KindEntry, all_kinds.size()> kinds = {{
    {Kind::spd, "spd", "given condition, geometric spectrum", true},
    {Kind::clustered, "clustered", "given condition, half of the spectrum at either end", true},
    {Kind::rbf_sorted, "rbf_sorted", "squared-exponential kernel, sorted points", true},
    {Kind::rbf_shuffled, "rbf_shuffled", "squared-exponential kernel, points in random order",
     true},
    {Kind::matern_sorted, "matern_sorted", "Matern-5/2 kernel, sorted points", true},
    {Kind::matern_shuffled, "matern_shuffled", "Matern-5/2 kernel, points in random order", true},
    {Kind::dominant, "dominant", "random, diagonally dominant", true},
    {Kind::indefinite, "indefinite", "a random leading minor is indefinite", false},
    {Kind::nan, "nan", "one NaN at a random place", false},
}};

const KindEntry& entry_of(Kind kind) {
  for (const KindEntry& entry : kinds) {
    if (entry.kind == kind) return entry;
  }
  throw std::invalid_argument("kind: no such enumerator");
}

}  // namespace

const char* to_string(Kind kind) { return entry_of(kind).word; }
const char* description(Kind kind) { return entry_of(kind).description; }
bool is_positive_definite(Kind kind) { return entry_of(kind).positive_definite; }

Kind kind_from_string(const std::string& word) {
  std::string known;
  for (const KindEntry& entry : kinds) {
    if (word == entry.word) return entry.kind;
    known += (known.empty() ? "" : ", ") + std::string(entry.word);
  }
  throw std::invalid_argument("expected one of " + known + "; got '" + word + "'");
}

double highest_kappa(Kind kind, jaxmg::DType dtype) {
  const bool single = dtype == jaxmg::DType::f32 || dtype == jaxmg::DType::c64;
  switch (kind) {
    case Kind::spd:
    case Kind::clustered:
      return 0.1 / (single ? static_cast<double>(std::numeric_limits<float>::epsilon())
                           : std::numeric_limits<double>::epsilon());
    case Kind::rbf_sorted:
    case Kind::rbf_shuffled:
    case Kind::matern_sorted:
    case Kind::matern_shuffled:
      return single ? 1e7 : 1e14;
    case Kind::indefinite:
    case Kind::nan:
      return 1e3;
    case Kind::dominant:
      break;
  }
  return std::numeric_limits<double>::infinity();
}

template <Scalar T>
TestMatrix<T> make_matrix(const Recipe& recipe) {
  if (recipe.n < 0) {
    throw std::invalid_argument("n: expected 0 or more, got " + std::to_string(recipe.n));
  }
  if (!(recipe.kappa >= 1)) {
    throw std::invalid_argument("kappa: expected at least 1, got " + std::to_string(recipe.kappa));
  }
  Random random(recipe.seed);
  const auto well_conditioned = [&] {
    return with_spectrum<T>(
        geometric_spectrum(
            recipe.n, std::min(recipe.kappa, highest_kappa(recipe.kind, jaxmg::dtype_of<T>()))),
        random);
  };
  switch (recipe.kind) {
    case Kind::spd:
      break;
    case Kind::clustered:
      return with_spectrum<T>(two_clusters(recipe.n, recipe.kappa, random), random);
    case Kind::rbf_sorted:
      return kernel_matrix<T>(recipe, squared_exponential, true);
    case Kind::rbf_shuffled:
      return kernel_matrix<T>(recipe, squared_exponential, false);
    case Kind::matern_sorted:
      return kernel_matrix<T>(recipe, matern_5_2, true);
    case Kind::matern_shuffled:
      return kernel_matrix<T>(recipe, matern_5_2, false);
    case Kind::dominant:
      return dominant_matrix<T>(recipe);
    case Kind::indefinite:
      return indefinite_matrix(well_conditioned(), random);
    case Kind::nan: {
      TestMatrix<T> matrix = well_conditioned();
      if (recipe.n > 0) {
        const index_t i = random.below(recipe.n);
        put_nan(matrix, i, random.below(i + 1));
      }
      return matrix;
    }
  }
  return with_spectrum<T>(geometric_spectrum(recipe.n, recipe.kappa), random);
}

template <Scalar T>
void put_nan(TestMatrix<T>& matrix, index_t i, index_t j) {
  matrix.A(i, j) = quiet_nan<T>();
  matrix.A(j, i) = quiet_nan<T>();
  matrix.logdet.reset();
  const auto minor = static_cast<std::int32_t>(i + 1);
  const std::int32_t before = matrix.first_failure;
  matrix.first_failure = before == 0 ? minor : std::min(before, minor);
}

template <Scalar T>
HostMatrix<T> random_matrix(index_t rows, index_t cols, unsigned seed) {
  Random random(seed);
  HostMatrix<T> B(rows, cols);
  for (index_t j = 0; j < cols; ++j) {
    for (index_t i = 0; i < rows; ++i) B(i, j) = random.entry<T>();
  }
  return B;
}

#define JAXMG_INSTANTIATE(T)                               \
  template TestMatrix<T> make_matrix(const Recipe&);       \
  template void put_nan(TestMatrix<T>&, index_t, index_t); \
  template HostMatrix<T> random_matrix(index_t, index_t, unsigned);
JAXMG_INSTANTIATE(float)
JAXMG_INSTANTIATE(double)
JAXMG_INSTANTIATE(std::complex<float>)
JAXMG_INSTANTIATE(std::complex<double>)

}  // namespace jaxmg_testing
