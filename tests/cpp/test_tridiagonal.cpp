// Eigenvalues and eigenvectors of symmetric tridiagonal matrices: divide and conquer, and bisection
// for eigenvalues alone.
#include <array>
#include <cmath>
#include <cstring>
#include <functional>
#include <numeric>
#include <random>

#include <gtest/gtest.h>

#include "algorithms/eigen/tridiagonal/bisection.hpp"
#include "api/tridiagonal_workspace.hpp"
#include "device/cpu/blas.hpp"
#include "kinds.hpp"
#include "testing/residuals.hpp"

namespace {

using jaxmg::index_t;
using jaxmg::MatrixView;
using namespace jaxmg_testing;
using Values = std::vector<double>;

std::size_t at(index_t i) { return static_cast<std::size_t>(i); }

// ---- Matrices ---------------------------------------------------------------------------------

/// Diagonal d (n) and off-diagonal e (n - 1), in double.
struct Tridiagonal {
  Values d, e;
  index_t order() const { return static_cast<index_t>(d.size()); }
};

Tridiagonal zeros(index_t n) { return {Values(at(n)), Values(at(std::max<index_t>(0, n - 1)))}; }

/// f(i) and g(i) for the diagonal and the off-diagonal.
template <class F, class G>
Tridiagonal of_formula(index_t n, F f, G g) {
  Tridiagonal T = zeros(n);
  for (index_t i = 0; i < n; ++i) T.d[at(i)] = f(i);
  for (index_t i = 0; i + 1 < n; ++i) T.e[at(i)] = g(i);
  return T;
}

/// Of these eigenvalues: by Lanczos from a random vector, each new one orthogonal to all before.
Tridiagonal of_spectrum(const Values& spectrum) {
  const auto n = static_cast<index_t>(spectrum.size());
  Tridiagonal T = zeros(n);
  std::mt19937 random(5);
  std::normal_distribution<double> normal;
  std::vector<Values> basis;
  const auto dot = [](const Values& x, const Values& y) {
    return std::inner_product(x.begin(), x.end(), y.begin(), 0.0);
  };
  const auto next = [&](Values v) {
    for (int twice = 0; twice < 2; ++twice) {
      for (const Values& q : basis) {
        const double along = dot(q, v);
        for (std::size_t i = 0; i < v.size(); ++i) v[i] -= along * q[i];
      }
    }
    return v;
  };
  Values v(spectrum.size());
  for (double& x : v) x = normal(random);
  for (index_t j = 0; j < n; ++j) {
    double norm = std::sqrt(dot(v, v));
    if (j > 0) T.e[at(j - 1)] = norm;
    if (norm < 1e-14) {  // the space is invariant: any other vector goes on
      if (j > 0) T.e[at(j - 1)] = 0;
      for (double& x : v) x = normal(random);
      v = next(v);
      norm = std::sqrt(dot(v, v));
    }
    for (double& x : v) x /= norm;
    basis.push_back(v);
    for (std::size_t i = 0; i < v.size(); ++i) v[i] *= spectrum[i];
    T.d[at(j)] = dot(basis.back(), v);
    v = next(v);
  }
  return T;
}

Tridiagonal of_spectrum(index_t n, const std::function<double(double)>& f) {
  Values spectrum;
  for (index_t i = 0; i < n; ++i) {
    spectrum.push_back(
        f(static_cast<double>(i) / static_cast<double>(std::max<index_t>(1, n - 1))));
  }
  return of_spectrum(spectrum);
}

/// Copies of Wilkinson's matrix of order 21 joined by `glue`.
Tridiagonal glued_wilkinson(index_t n, double glue) {
  return of_formula(
      n, [](index_t i) { return std::abs(static_cast<double>(i % 21 - 10)); },
      [glue](index_t i) { return i % 21 == 20 ? glue : 1; });
}

struct Case {
  const char* name;
  std::function<Tridiagonal(index_t n)> make;
};

double uniform(index_t i, unsigned salt) {
  std::mt19937 random(static_cast<unsigned>(i) * 7919 + salt);
  return std::uniform_real_distribution<double>(-1, 1)(random);
}

const std::vector<Case>& cases() {
  static const std::vector<Case> all = {
      {"random",
       [](index_t n) {
         return of_formula(
             n, [](index_t i) { return uniform(i, 1); }, [](index_t i) { return uniform(i, 2); });
       }},
      {"geometric",
       [](index_t n) { return of_spectrum(n, [](double t) { return std::pow(1e-12, t); }); }},
      {"arithmetic", [](index_t n) { return of_spectrum(n, [](double t) { return 1 - t; }); }},
      {"both signs", [](index_t n) { return of_spectrum(n, [](double t) { return 2 * t - 1; }); }},
      {"clustered at small",
       [](index_t n) { return of_spectrum(n, [](double t) { return t < 1 ? 1e-14 : 1; }); }},
      {"clustered at large",
       [](index_t n) { return of_spectrum(n, [](double t) { return t < 1 ? 1 : 1e-14; }); }},
      {"a few clusters",
       [](index_t n) {
         return of_spectrum(n, [](double t) { return std::floor(5 * t) + 1e-10 * t; });
       }},
      {"all equal", [](index_t n) { return of_spectrum(n, [](double) { return 3; }); }},
      {"zero", zeros},
      {"identity",
       [](index_t n) {
         return of_formula(
             n, [](index_t) { return 1; }, [](index_t) { return 0; });
       }},
      {"shuffled diagonal",
       [](index_t n) {
         return of_formula(
             n,
             [n](index_t i) { return static_cast<double>(1 + (i * 37) % std::max<index_t>(1, n)); },
             [](index_t) { return 0; });
       }},
      {"no diagonal",
       [](index_t n) {
         return of_formula(
             n, [](index_t) { return 0; }, [](index_t) { return 1; });
       }},
      {"second difference",
       [](index_t n) {
         return of_formula(
             n, [](index_t) { return 2; }, [](index_t) { return -1; });
       }},
      {"Wilkinson",
       [](index_t n) {
         return of_formula(
             n, [n](index_t i) { return std::abs(static_cast<double>(2 * i - n + 1)) / 2; },
             [](index_t) { return 1; });
       }},
      {"glued 1e-3", [](index_t n) { return glued_wilkinson(n, 1e-3); }},
      {"glued 1e-8", [](index_t n) { return glued_wilkinson(n, 1e-8); }},
      {"glued 1e-14", [](index_t n) { return glued_wilkinson(n, 1e-14); }},
      {"graded down",
       [](index_t n) {
         const double step = 30.0 / static_cast<double>(std::max<index_t>(1, n));
         return of_formula(
             n, [step](index_t i) { return std::pow(10, -step * static_cast<double>(i)); },
             [step](index_t i) { return 0.3 * std::pow(10, -step * static_cast<double>(i)); });
       }},
      {"graded up",
       [](index_t n) {
         const double step = 30.0 / static_cast<double>(std::max<index_t>(1, n));
         return of_formula(
             n, [step](index_t i) { return std::pow(10, step * static_cast<double>(i) - 25); },
             [step](index_t i) { return std::pow(10, step * static_cast<double>(i) - 25); });
       }},
      {"some zero couplings",
       [](index_t n) {
         return of_formula(
             n, [](index_t i) { return uniform(i, 3); },
             [](index_t i) { return i % 5 == 3 || i % 7 == 1 ? 0 : uniform(i, 4); });
       }},
      {"some negligible couplings",
       [](index_t n) {
         return of_formula(
             n, [](index_t i) { return 2 + uniform(i, 5); },
             [](index_t i) { return i % 6 == 4 ? 1e-20 : uniform(i, 6); });
       }},
      {"blocks of unlike size",
       [](index_t n) {
         return of_formula(
             n, [](index_t i) { return uniform(i, 7) * (i / 9 % 2 == 0 ? 1 : 1e-16); },
             [](index_t i) {
               return i % 9 == 8 ? 0 : uniform(i, 8) * (i / 9 % 2 == 0 ? 1 : 1e-16);
             });
       }},
      {"tiny couplings",
       [](index_t n) {
         return of_formula(
             n, [](index_t i) { return static_cast<double>(i % 3); },
             [](index_t) { return 1e-15; });
       }},
      {"tiny couplings, no diagonal",
       [](index_t n) {
         return of_formula(
             n, [](index_t) { return 0; }, [](index_t) { return 1e-30; });
       }},
      {"one large entry",
       [](index_t n) {
         return of_formula(
             n, [n](index_t i) { return i == n / 2 ? 1 : 0; },
             [n](index_t i) { return i == n / 2 ? 1 : 1e-9; });
       }},
      {"all ones",
       [](index_t n) {
         return of_formula(
             n, [](index_t) { return 1; }, [](index_t) { return 1; });
       }},
      {"Clement",
       [](index_t n) {
         return of_formula(
             n, [](index_t) { return 0; },
             [n](index_t i) { return std::sqrt(static_cast<double>((i + 1) * (n - 1 - i))); });
       }},
  };
  return all;
}

Tridiagonal make(const std::string& name, index_t n) {
  for (const Case& c : cases()) {
    if (c.name == name) return c.make(n);
  }
  throw std::invalid_argument(name);
}

/// What is left of it in another precision.
template <class R>
Tridiagonal rounded(Tridiagonal T) {
  for (Values* values : {&T.d, &T.e}) {
    for (double& x : *values) x = static_cast<double>(static_cast<R>(x));
  }
  return T;
}

double norm_1(const Tridiagonal& T) {
  double norm = 0;
  for (index_t i = 0; i < T.order(); ++i) {
    double sum = std::abs(T.d[at(i)]);
    if (i > 0) sum += std::abs(T.e[at(i - 1)]);
    if (i + 1 < T.order()) sum += std::abs(T.e[at(i)]);
    norm = std::max(norm, sum);
  }
  return norm;
}

Values lapack_eigenvalues(Tridiagonal T) {
  const char no_vectors = 'N';
  const auto n = static_cast<int>(T.order());
  const int ld = 1;
  int info = 0;
  if (n > 0) {
    jaxmg::cpu::blas<double>().steqr(&no_vectors, &n, T.d.data(), T.e.data(), nullptr, &ld, nullptr,
                                     &info);
  }
  EXPECT_EQ(info, 0);
  return T.d;
}

// ---- Runs -------------------------------------------------------------------------------------

/// `tile` is the order of the leaves.
struct Options {
  Setting setting;
  index_t columns = jaxmg::secular_columns;
  index_t spare_columns = 0;
};

template <class R>
struct Eigen {
  std::vector<R> w;
  HostMatrix<R> V;
  int info;
};

template <class Kind, class R>
using PerRank = std::vector<typename Kind::template Vector<R>>;

/// The same on all ranks.
template <class Kind, class R>
void expect_same(const PerRank<Kind, R>& of_ranks) {
  const auto same_bits = [](R x, R y) { return std::memcmp(&x, &y, sizeof(R)) == 0; };
  for (const auto& of_rank : of_ranks) {
    EXPECT_TRUE(std::equal(of_rank.begin(), of_rank.end(), of_ranks[0].begin(), same_bits));
  }
}

/// By the rank program, from storage that is NaN wherever it must not be read.
template <class P>
Eigen<typename P::type> decompose(const Tridiagonal& T, const Options& options) {
  using R = typename P::type;
  using Kind = typename P::Kind;
  constexpr index_t gap = 3;
  const index_t n = T.order();
  const int ranks = options.setting.ranks;
  const index_t n_loc = (n + ranks - 1) / ranks + options.spare_columns, ld = n + gap;
  const typename Kind::template Vector<R> d(T.d.begin(), T.d.end()), e(T.e.begin(), T.e.end());
  PerRank<Kind, R> w(at(ranks)), V(at(ranks));
  PerRank<Kind, std::byte> workspaces(at(ranks));
  typename Kind::template Vector<std::int32_t> info(at(ranks), -1);
  for (index_t p = 0; p < ranks; ++p) {
    jaxmg::Arena arena;
    jaxmg::take_divide_and_conquer_work<R>(arena, n, ranks, options.columns);
    w[at(p)].assign(at(n), quiet_nan<R>());
    V[at(p)].assign(at(n_loc * ld), quiet_nan<R>());
    workspaces[at(p)].assign(arena.bytes(), std::byte{0xff});
  }
  using B = typename Kind::Backend;
  Kind::run(options.setting, [&](jaxmg::Rank<B>& rank) {
    const auto p = at(rank.index());
    jaxmg::Arena arena(workspaces[p].data());
    const auto work = jaxmg::take_divide_and_conquer_work<R>(arena, n, ranks, options.columns);
    jaxmg::divide_and_conquer<B, R>(rank, n, d.data(), e.data(), w[p].data(),
                                    {V[p].data(), n, n_loc, ld}, &info[p], work,
                                    options.setting.tile);
  });
  expect_same<Kind, R>(w);
  Eigen<R> result{{w[0].begin(), w[0].end()}, HostMatrix<R>(n, n), info[0]};
  for (const std::int32_t of_rank : info) EXPECT_EQ(of_rank, info[0]);
  for (index_t j = 0; j < n; ++j) {
    std::copy_n(&V[at(j / n_loc)][at(j % n_loc * ld)], n, &result.V(0, j));
  }
  return result;
}

template <class P>
std::vector<typename P::type> bisect(const Tridiagonal& T, const Setting& setting, int& info) {
  using R = typename P::type;
  using Kind = typename P::Kind;
  const typename Kind::template Vector<R> d(T.d.begin(), T.d.end()), e(T.e.begin(), T.e.end());
  PerRank<Kind, R> w(at(setting.ranks)), own(at(setting.ranks));
  typename Kind::template Vector<std::int32_t> infos(at(setting.ranks), -1);
  for (auto* of_ranks : {&w, &own}) {
    for (auto& of_rank : *of_ranks) of_rank.assign(at(T.order()), quiet_nan<R>());
  }
  using B = typename Kind::Backend;
  Kind::run(setting, [&](jaxmg::Rank<B>& rank) {
    const auto p = at(rank.index());
    jaxmg::eigenvalues_by_bisection<B, R>(rank, T.order(), d.data(), e.data(), w[p].data(),
                                          &infos[p], own[p].data());
  });
  expect_same<Kind, R>(w);
  for (const std::int32_t of_rank : infos) EXPECT_EQ(of_rank, infos[0]);
  info = infos[0];
  return {w[0].begin(), w[0].end()};
}

// ---- Checks -----------------------------------------------------------------------------------

/// ||T V - V diag(w)||_1 / (n eps ||T||_1).
template <class R>
double residual(const Tridiagonal& T, const Eigen<R>& eigen) {
  const index_t n = T.order();
  double norm = 0;
  for (index_t j = 0; j < n; ++j) {
    double sum = 0;
    for (index_t i = 0; i < n; ++i) {
      double r = (T.d[at(i)] - static_cast<double>(eigen.w[at(j)])) * eigen.V(i, j);
      if (i > 0) r += T.e[at(i - 1)] * eigen.V(i - 1, j);
      if (i + 1 < n) r += T.e[at(i)] * eigen.V(i + 1, j);
      sum += std::abs(r);
    }
    if (!(sum <= norm)) norm = sum;
  }
  const double scale = static_cast<double>(n) * std::numeric_limits<R>::epsilon() * norm_1(T);
  return norm == 0 ? 0 : norm / scale;
}

/// max |w - LAPACK's| / (n eps ||T||_1).
template <class R>
double value_error(const Tridiagonal& T, const std::vector<R>& w) {
  const Values expected = lapack_eigenvalues(T);
  const double scale =
      static_cast<double>(T.order()) * std::numeric_limits<R>::epsilon() * norm_1(T);
  double error = 0;
  for (std::size_t i = 0; i < w.size(); ++i) {
    const double off = std::abs(static_cast<double>(w[i]) - expected[i]);
    if (!(off <= error)) error = off;
  }
  return error == 0 ? 0 : error / scale;
}

template <class R>
void expect_decomposition(const Tridiagonal& T, const Eigen<R>& eigen) {
  EXPECT_EQ(eigen.info, 0);
  EXPECT_TRUE(std::is_sorted(eigen.w.begin(), eigen.w.end()));
  EXPECT_LT(residual(T, eigen), 10);
  EXPECT_LT(orthogonality_residual(eigen.V), 10);
  EXPECT_LT(value_error(T, eigen.w), 10);
}

template <class R>
bool all_nan(const std::vector<R>& values) {
  return std::all_of(values.begin(), values.end(), [](R x) { return std::isnan(x); });
}

// ---- Tests ------------------------------------------------------------------------------------

template <class P>
class TridiagonalEigen : public jaxmg::testing::KindTest<typename P::Kind> {};
TYPED_TEST_SUITE(TridiagonalEigen, jaxmg::testing::OnRealsOfAllKinds, jaxmg::testing::KindNames);

TYPED_TEST(TridiagonalEigen, EveryKindOfMatrix) {
  using R = typename TypeParam::type;
  int turn = 0;
  for (const Case& c : cases()) {
    for (const index_t n : {30, 97}) {
      const Tridiagonal T = rounded<R>(c.make(n));
      const Options options{{1 + turn % 3, 5 + turn % 2, turn % 4 < 2}, 40};
      SCOPED_TRACE(::testing::Message() << c.name << ", n = " << n << ", " << options.setting);
      expect_decomposition(T, decompose<TypeParam>(T, options));
      ++turn;
    }
  }
}

TYPED_TEST(TridiagonalEigen, EverySizeAndNumberOfRanks) {
  using R = typename TypeParam::type;
  constexpr index_t leaf = 7;
  int turn = 0;
  for (const index_t n : {0, 1, 2, 3, 5, 6, 7, 8, 13, 14, 15, 29, 41}) {
    for (const char* name : {"random", "second difference", "some zero couplings"}) {
      const Tridiagonal T = rounded<R>(make(name, n));
      // Two teams a matrix: all six for each order, each with every matrix for some.
      for (const int ranks :
           {std::array{1, 3, 5}[at(turn % 3)], std::array{2, 4, 8}[at(turn % 3)]}) {
        const Options options{{ranks, leaf, (n + ranks) % 2 == 0}, 6, n % 3};
        SCOPED_TRACE(::testing::Message() << name << ", n = " << n << ", " << options.setting);
        expect_decomposition(T, decompose<TypeParam>(T, options));
      }
      ++turn;
    }
    ++turn;
  }
}

TYPED_TEST(TridiagonalEigen, WidestLeaves) {
  using R = typename TypeParam::type;
  for (const index_t n : {31, 32, 33, 211, 300}) {
    const Tridiagonal T = rounded<R>(make(n == 300 ? "glued 1e-8" : "random", n));
    for (const int ranks : {1, 2, 3, 8}) {
      if (n > 40 && ranks > 2 && (n + ranks) % 2 == 0) continue;
      const Options options{{ranks, jaxmg::widest_leaf, n % 2 == 0}};
      SCOPED_TRACE(::testing::Message() << "n = " << n << ", " << options.setting);
      expect_decomposition(T, decompose<TypeParam>(T, options));
    }
  }
}

TYPED_TEST(TridiagonalEigen, UnderRandomScheduling) {
  using R = typename TypeParam::type;
  for (const unsigned seed : {1U, 2U, 3U}) {
    jaxmg::set_cpu_chaos(seed, 100);
    for (const int ranks : {1, 2, 3, 8}) {
      for (const char* name : {"second difference", "some zero couplings", "identity"}) {
        const Tridiagonal T = rounded<R>(make(name, 26));
        const Options options{{ranks, 6, seed % 2 == 0}, 7};
        SCOPED_TRACE(::testing::Message() << name << ", seed " << seed << options.setting);
        expect_decomposition(T, decompose<TypeParam>(T, options));
        int info = -1;
        EXPECT_LT(value_error(T, bisect<TypeParam>(T, options.setting, info)), 10);
      }
    }
  }
}

/// All of R's range, down and up; and matrices at either end of it.
TYPED_TEST(TridiagonalEigen, ExtremeRanges) {
  using R = typename TypeParam::type;
  constexpr index_t n = 61;
  constexpr double digits = std::is_same_v<R, float> ? 30 : 300;
  const auto graded = [](double from, double to) {
    const auto size = [=](index_t i) {
      return std::pow(10, from + (to - from) * static_cast<double>(i) / n);
    };
    return of_formula(n, size, [=](index_t i) { return 0.4 * size(i); });
  };
  std::vector<Tridiagonal> all = {graded(-digits, digits), graded(digits, -digits)};
  for (const double scale : {std::pow(10, -digits), std::pow(10, digits)}) {
    for (const char* name : {"random", "Wilkinson", "some negligible couplings"}) {
      all.push_back(make(name, n));
      for (Values* values : {&all.back().d, &all.back().e}) {
        for (double& x : *values) x *= scale;
      }
    }
  }
  int turn = 0;
  for (const Tridiagonal& exact : all) {
    const Tridiagonal T = rounded<R>(exact);
    const Options options{{1 + turn % 4, 8, turn % 2 == 0}};
    SCOPED_TRACE(::testing::Message() << "matrix " << turn++ << ", " << options.setting);
    expect_decomposition(T, decompose<TypeParam>(T, options));
    int info = -1;
    EXPECT_LT(value_error(T, bisect<TypeParam>(T, options.setting, info)), 10);
  }
}

TYPED_TEST(TridiagonalEigen, DiagonalMatricesAreExact) {
  using R = typename TypeParam::type;
  const Tridiagonal T = rounded<R>(make("shuffled diagonal", 50));
  Values sorted = T.d;
  std::sort(sorted.begin(), sorted.end());
  for (const int ranks : {1, 3}) {
    const Eigen<R> eigen = decompose<TypeParam>(T, {{ranks, 8, true}});
    for (index_t i = 0; i < 50; ++i) EXPECT_EQ(eigen.w[at(i)], sorted[at(i)]);
    EXPECT_EQ(orthogonality_residual(eigen.V), 0);
  }
}

/// A small block beside a large one keeps its own relative accuracy.
TYPED_TEST(TridiagonalEigen, BlocksOfUnlikeSizeAreSolvedByThemselves) {
  using R = typename TypeParam::type;
  constexpr double small = std::is_same_v<R, float> ? 1e-20 : 1e-100;
  Tridiagonal T = rounded<R>(make("second difference", 60));
  for (index_t i = 0; i < 30; ++i) T.d[at(i)] *= small;
  for (index_t i = 0; i < 29; ++i) T.e[at(i)] *= small;
  T = rounded<R>(T);
  T.e[29] = 0;
  const Tridiagonal half = {Values(T.d.begin(), T.d.begin() + 30),
                            Values(T.e.begin(), T.e.begin() + 29)};
  for (const int ranks : {1, 2, 3}) {
    const Eigen<R> eigen = decompose<TypeParam>(T, {{ranks, 5, true}});
    EXPECT_LT(value_error(half, std::vector<R>(eigen.w.begin(), eigen.w.begin() + 30)), 10);
    expect_decomposition(T, eigen);
  }
}

TYPED_TEST(TridiagonalEigen, NotFinite) {
  using R = typename TypeParam::type;
  for (const double bad :
       {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity(),
        -std::numeric_limits<double>::infinity()}) {
    for (const index_t n : {1, 2, 30}) {
      for (const bool on_diagonal : {true, false}) {
        if (n == 1 && !on_diagonal) continue;
        Tridiagonal T = make("random", n);
        (on_diagonal ? T.d.back() : T.e.back()) = bad;
        for (const int ranks : {1, 3}) {
          const Options options{{ranks, 4, true}};
          SCOPED_TRACE(::testing::Message() << bad << ", n = " << n << ", " << options.setting);
          const Eigen<R> eigen = decompose<TypeParam>(T, options);
          EXPECT_NE(eigen.info, 0);
          EXPECT_TRUE(all_nan(eigen.w));
          EXPECT_TRUE(all_nan(eigen.V.values()));
          int info = 0;
          EXPECT_TRUE(all_nan(bisect<TypeParam>(T, options.setting, info)));
          EXPECT_NE(info, 0);
        }
      }
    }
  }
}

TYPED_TEST(TridiagonalEigen, ValuesAlone) {
  using R = typename TypeParam::type;
  int turn = 0;
  for (const Case& c : cases()) {
    for (const index_t n : {0, 1, 2, 30, 97}) {
      const Tridiagonal T = rounded<R>(c.make(n));
      const Setting setting{std::array{1, 2, 3, 8}[at(turn % 4)], 0, turn % 8 < 4};
      SCOPED_TRACE(::testing::Message() << c.name << ", n = " << n << ", " << setting);
      int info = -1;
      const std::vector<R> w = bisect<TypeParam>(T, setting, info);
      EXPECT_EQ(info, 0);
      EXPECT_TRUE(std::is_sorted(w.begin(), w.end()));
      EXPECT_LT(value_error(T, w), 1);
      ++turn;
    }
  }
}

// ---- Failures ---------------------------------------------------------------------------------

/// CPU ranks of which the last rank's leaves, or its roots, are not found, and are NaN.
template <bool leaves>
struct Failing : jaxmg::testing::Cpu {
  struct Backend : jaxmg::cpu::Backend {
    template <class R>
    static void solve_leaves(Queue& queue, const index_t* borders, index_t count, double* d,
                             double* e, MatrixView<R> Q, std::int32_t* info) {
      jaxmg::cpu::Backend::solve_leaves<R>(queue, borders, count, d, e, Q, info);
      if (!leaves) return;
      fill<R>(queue, quiet_nan<R>(), Q);
      queue.enqueue([=] {
        d[borders[0]] = quiet_nan<double>();
        *info = borders[0] == 0 ? 0 : 1;
      });
    }
    static void solve_secular(Queue& queue, const jaxmg::SecularEquation& equation, index_t first,
                              index_t last, jaxmg::SecularRoot* roots, std::int32_t* info) {
      jaxmg::cpu::Backend::solve_secular(queue, equation, first, last, roots, info);
      if (leaves || first == 0) return;
      queue.enqueue([=] {
        roots[first].offset = quiet_nan<double>();
        *info = 1;
      });
    }
  };
  static void run(const Setting& setting, const jaxmg::RankProgram<Backend>& program) {
    jaxmg::testing::run_cpu_ranks<Backend>(setting, program);
  }
};

template <class P>
class TridiagonalEigenFailing : public ::testing::Test {};
using FailingKinds = ::testing::Types<jaxmg::testing::On<Failing<true>, double>,
                                      jaxmg::testing::On<Failing<false>, float>>;
TYPED_TEST_SUITE(TridiagonalEigenFailing, FailingKinds);

TYPED_TEST(TridiagonalEigenFailing, IsToldOnAllRanks) {
  for (const int ranks : {2, 3, 4}) {
    const auto eigen = decompose<TypeParam>(make("random", 40), {{ranks, 5, true}});
    EXPECT_EQ(eigen.info, 1);
    EXPECT_TRUE(all_nan(eigen.w));
    EXPECT_TRUE(all_nan(eigen.V.values()));
  }
}

// ---- Parts ------------------------------------------------------------------------------------

constexpr double eps = std::numeric_limits<double>::epsilon();

struct Equation {
  Values poles, z;
  double rho;
  jaxmg::SecularEquation view() const {
    return {static_cast<index_t>(poles.size()), poles.data(), z.data(), rho};
  }
};

/// Poles and weights from equal ones to the closest and smallest that deflation lets through.
std::vector<Equation> equations() {
  std::vector<Equation> all;
  for (const index_t order : {1, 2, 3, 4, 50}) {
    for (int kind = 0; kind < 6; ++kind) {
      Equation equation;
      double square = 0;
      for (index_t i = 0; i < order; ++i) {
        const double x = static_cast<double>(i), sign = i % 3 == 0 ? -1 : 1;
        const double poles[] = {x, x, std::pow(1e-13, 1 - x / 50), 1 + 1e-14 * x, x * x, 1e-15 * x};
        const double z[] = {
            1, std::pow(1e-15, std::abs(uniform(i, 1))), 1, 1, 1e-8, i % 2 == 0 ? 1 : 1e-15};
        equation.poles.push_back(poles[kind]);
        equation.z.push_back(sign * z[kind]);
        square += z[kind] * z[kind];
      }
      for (double& z : equation.z) z /= std::sqrt(square);
      for (const double rho : {1e-10, 1.0, 100.0}) {
        equation.rho = rho;
        all.push_back(equation);
      }
    }
  }
  return all;
}

TEST(Secular, RootsInterlaceAndEigenvectorsAreOrthogonal) {
  for (const Equation& equation : equations()) {
    const jaxmg::SecularEquation view = equation.view();
    const index_t n = view.order;
    SCOPED_TRACE(::testing::Message()
                 << "order " << n << ", z_0 = " << view.z[0] << ", rho " << view.rho);
    std::vector<jaxmg::SecularRoot> roots(at(n));
    for (index_t j = 0; j < n; ++j) {
      ASSERT_TRUE(jaxmg::find_root(jaxmg::Alone{}, view, j, roots[at(j)]));
      EXPECT_LT(jaxmg::difference(view.poles, j, roots[at(j)]), 0);
      if (j + 1 == n) continue;
      EXPECT_GT(jaxmg::difference(view.poles, j + 1, roots[at(j)]), 0);
    }
    HostMatrix<double> S(n, n);
    for (index_t i = 0; i < n; ++i) {
      const double weight = jaxmg::refined_weight(jaxmg::Alone{}, view, roots.data(), i);
      EXPECT_NEAR(weight / std::sqrt(view.rho), view.z[i], 10 * static_cast<double>(n) * eps);
      for (index_t j = 0; j < n; ++j) {
        S(i, j) = weight / jaxmg::difference(view.poles, i, roots[at(j)]);
      }
    }
    for (index_t j = 0; j < n; ++j) {
      double square = 0;
      for (index_t i = 0; i < n; ++i) square += S(i, j) * S(i, j);
      for (index_t i = 0; i < n; ++i) S(i, j) /= std::sqrt(square);
    }
    EXPECT_LT(orthogonality_residual(S), 10);
  }
}

TEST(Secular, GivesUpOnWhatIsNotFinite) {
  for (const double bad : {quiet_nan<double>(), std::numeric_limits<double>::infinity()}) {
    const Equation equation{{0, 1, bad}, {0.5, 0.5, 0.5}, 1};
    jaxmg::SecularRoot root{};
    EXPECT_FALSE(jaxmg::find_root(jaxmg::Alone{}, equation.view(), 1, root));
  }
}

/// Eigenvalues d of the halves and the merge's z, both halves of the same order.
jaxmg::LevelArrays merge_of(Values d, Values z) {
  jaxmg::LevelArrays level(0, static_cast<index_t>(d.size()));
  level.d = std::move(d);
  level.z = std::move(z);
  return level;
}

TEST(Deflation, KeepsAllOfSeparateEigenvalues) {
  auto level = merge_of({0, 2, 4, 1, 3, 5}, Values(6, 1));
  const auto update = jaxmg::deflate({0, 3, 6}, 0.5, eps, level);
  EXPECT_EQ(update.kept, 6);
  EXPECT_EQ(update.above, 3);
  EXPECT_EQ(update.below, 3);
  EXPECT_EQ(update.rotations, 0);
  EXPECT_EQ(level.poles, Values({0, 1, 2, 3, 4, 5}));
  EXPECT_EQ(level.columns, (std::vector<index_t>{0, 1, 2, 3, 4, 5}));
  EXPECT_EQ(level.rows, (std::vector<index_t>{0, 3, 1, 4, 2, 5}));
  EXPECT_DOUBLE_EQ(update.rho, 3);
}

TEST(Deflation, KeepsNothingOfAWeakCoupling) {
  auto level = merge_of({0, 2, 1, 3}, Values(4, 1));
  const auto update = jaxmg::deflate({0, 2, 4}, 1e-17, eps, level);
  EXPECT_EQ(update.kept, 0);
  EXPECT_EQ(level.d, Values({0, 2, 1, 3}));
}

TEST(Deflation, RotatesEqualEigenvaluesAway) {
  auto level = merge_of({1, 2, 1, 1}, Values(4, 1));
  const auto update = jaxmg::deflate({0, 2, 4}, -0.5, eps, level);
  EXPECT_EQ(update.kept, 2);
  EXPECT_EQ(update.rotations, 2);
  EXPECT_EQ(update.above, 2);  // one rotated across the cut
  EXPECT_EQ(update.below, 1);
  const Values d = {1, 2, 1, 1};
  for (index_t i = 0; i < 4; ++i) EXPECT_DOUBLE_EQ(level.d[at(i)], d[at(i)]);
}

TEST(Deflation, LeavesSmallWeights) {
  auto level = merge_of({0, 1, 2, 3}, {1, 1e-18, 1, 1});
  const auto update = jaxmg::deflate({0, 2, 4}, 1, eps, level);
  EXPECT_EQ(update.kept, 3);
  EXPECT_EQ(update.above, 1);
  EXPECT_EQ(level.columns, (std::vector<index_t>{0, 2, 3, 1}));
}

TEST(TridiagonalBlocks, SplitsAndScalesEachBlock) {
  jaxmg::TridiagonalBlocks blocks({1e200, 1e200, 1e-200, 3e-200, 5}, {1e200, 0, 1e-200, 1e-140},
                                  eps);
  const index_t begin[] = {0, 0, 2, 2, 4}, end[] = {2, 2, 4, 4, 5};
  for (index_t i = 0; i < 5; ++i) {
    EXPECT_EQ(blocks.begin(i), begin[i]);
    EXPECT_EQ(blocks.end(i), end[i]);
    EXPECT_LT(std::abs(blocks.diagonal(i)), 1);
    EXPECT_GE(std::abs(blocks.diagonal(i)), 0.1);
  }
  EXPECT_EQ(blocks.coupling(2), 0);
  EXPECT_EQ(blocks.coupling(4), 0);
  EXPECT_EQ(blocks.unscaled(3, blocks.diagonal(3)), 3e-200);
  const double before = blocks.diagonal(0);
  blocks.tear(1);
  EXPECT_EQ(blocks.diagonal(0), before - blocks.coupling(1));
}

TEST(Shares, CoverAllAndKnowTheirHolders) {
  for (const index_t size : {0, 1, 2, 7, 30}) {
    for (const index_t count : {1, 2, 3, 8}) {
      const jaxmg::Shares shares{4, size, count};
      EXPECT_EQ(shares.border(0), 4);
      EXPECT_EQ(shares.border(count), 4 + size);
      for (index_t i = 0; i < count; ++i) {
        EXPECT_LE(shares.border(i + 1) - shares.border(i), shares.largest());
        for (index_t item = shares.border(i); item < shares.border(i + 1); ++item) {
          EXPECT_EQ(shares.holder(item), i);
        }
      }
    }
  }
}

TEST(Shares, JoinsMakeOneOfAll) {
  for (const index_t shares : {1, 2, 3, 5, 8}) {
    std::vector<index_t> cuts;
    for (int level = 0; level < jaxmg::join_levels(shares); ++level) {
      for (const auto& join : jaxmg::joins(shares, level)) {
        EXPECT_LT(join.first, join.cut);
        EXPECT_LT(join.cut, join.last);
        cuts.push_back(join.cut);
      }
    }
    std::sort(cuts.begin(), cuts.end());
    std::vector<index_t> all(at(shares - 1));
    std::iota(all.begin(), all.end(), 1);
    EXPECT_EQ(cuts, all);
  }
}

}  // namespace
