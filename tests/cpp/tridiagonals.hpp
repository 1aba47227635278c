// Symmetric tridiagonal matrices for the tests of their eigensolvers.
#pragma once

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "device/cpu/blas.hpp"
#include "testing/residuals.hpp"

namespace jaxmg::testing::tridiagonal {

using namespace jaxmg_testing;
using Values = std::vector<double>;

inline std::size_t at(index_t i) { return static_cast<std::size_t>(i); }

/// Diagonal d (n) and off-diagonal e (n - 1), in double.
struct Tridiagonal {
  Values d, e;
  index_t order() const { return static_cast<index_t>(d.size()); }
};

inline Tridiagonal zeros(index_t n) {
  return {Values(at(n)), Values(at(std::max<index_t>(0, n - 1)))};
}

/// f(i) and g(i) for the diagonal and the off-diagonal.
template <class F, class G>
Tridiagonal of_formula(index_t n, F f, G g) {
  Tridiagonal T = zeros(n);
  for (index_t i = 0; i < n; ++i) T.d[at(i)] = f(i);
  for (index_t i = 0; i + 1 < n; ++i) T.e[at(i)] = g(i);
  return T;
}

/// Of these eigenvalues: by Lanczos from a random vector, each new one orthogonal to all before.
inline Tridiagonal of_spectrum(const Values& spectrum) {
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

inline Tridiagonal of_spectrum(index_t n, const std::function<double(double)>& f) {
  Values spectrum;
  for (index_t i = 0; i < n; ++i) {
    spectrum.push_back(
        f(static_cast<double>(i) / static_cast<double>(std::max<index_t>(1, n - 1))));
  }
  return of_spectrum(spectrum);
}

/// Copies of Wilkinson's matrix of order 21 joined by `glue`.
inline Tridiagonal glued_wilkinson(index_t n, double glue) {
  return of_formula(
      n, [](index_t i) { return std::abs(static_cast<double>(i % 21 - 10)); },
      [glue](index_t i) { return i % 21 == 20 ? glue : 1; });
}

struct Case {
  const char* name;
  std::function<Tridiagonal(index_t n)> make;
};

inline double uniform(index_t i, unsigned salt) {
  std::mt19937 random(static_cast<unsigned>(i) * 7919 + salt);
  return std::uniform_real_distribution<double>(-1, 1)(random);
}

inline const std::vector<Case>& cases() {
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

inline Tridiagonal make(const std::string& name, index_t n) {
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

inline double norm_1(const Tridiagonal& T) {
  double norm = 0;
  for (index_t i = 0; i < T.order(); ++i) {
    double sum = std::abs(T.d[at(i)]);
    if (i > 0) sum += std::abs(T.e[at(i - 1)]);
    if (i + 1 < T.order()) sum += std::abs(T.e[at(i)]);
    norm = std::max(norm, sum);
  }
  return norm;
}

inline Values lapack_eigenvalues(Tridiagonal T) {
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

}  // namespace jaxmg::testing::tridiagonal
