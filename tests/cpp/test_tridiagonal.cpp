// Eigenvalues and eigenvectors of symmetric tridiagonal matrices: divide and conquer, and bisection
// for eigenvalues alone.
#include <array>
#include <cstring>

#include "algorithms/eigen/tridiagonal/bisection.hpp"
#include "api/tridiagonal_workspace.hpp"
#include "kinds.hpp"
#include "tridiagonals.hpp"

namespace {

using jaxmg::index_t;
using jaxmg::MatrixView;
using namespace jaxmg::testing::tridiagonal;

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

}  // namespace
