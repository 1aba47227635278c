// Band to tridiagonal by bulge chasing, and the back-transform: by the rank programs.
#include <array>
#include <cmath>
#include <limits>
#include <random>

#include <gtest/gtest.h>

#include "api/bulge_chasing_plan.hpp"
#include "kinds.hpp"
#include "testing/host_matrix.hpp"
#include "testing/matrices.hpp"
#include "testing/residuals.hpp"

#define JAXMG_JOIN_(a, b, c) a##b##c
#define JAXMG_JOIN(a, b, c) JAXMG_JOIN_(a, b, c)
extern "C" {
// Eigenvalues of a Hermitian band matrix.
void JAXMG_JOIN(JAXMG_BLAS_PREFIX, zhbev,
                _)(const char* job, const char* triangle, const int* n, const int* subdiagonals,
                   std::complex<double>* band, const int* ld, double* w, std::complex<double>* z,
                   const int* ldz, std::complex<double>* work, double* real_work, int* info);
// Eigenvalues of a real symmetric tridiagonal matrix.
void JAXMG_JOIN(JAXMG_BLAS_PREFIX, dsterf, _)(const int* n, double* d, double* e, int* info);
}

namespace {

using jaxmg::Arena;
using jaxmg::BulgeChasingPlan;
using jaxmg::conjugate;
using jaxmg::index_t;
using jaxmg::real_part;
using jaxmg::real_t;
using jaxmg::Scalar;
using jaxmg::testing::Shared;
using namespace jaxmg_testing;
using Complex = std::complex<double>;

/// The lower triangle of a Hermitian band matrix.
template <Scalar T>
struct Band {
  index_t n, b;
  /// (b + 1) x n, NaN where there is no entry, and in the imaginary parts of the diagonal.
  HostMatrix<T> lower;

  T operator()(index_t i, index_t j) const {
    if (i < j) return conjugate((*this)(j, i));
    if (i == j) return T(real_part(lower(0, j)));
    return i - j > b ? T(0) : lower(i - j, j);
  }
};

enum class Shape {
  random,
  tridiagonal,
  diagonal,
  zero,
  decoupled,  ///< blocks without a link
  sparse,     ///< most entries are zero
  constant,
  graded,  ///< from 1 down to what underflows
  tiny,    ///< squares of all entries underflow
};
constexpr Shape all_shapes[] = {Shape::random,   Shape::tridiagonal, Shape::diagonal,
                                Shape::zero,     Shape::decoupled,   Shape::sparse,
                                Shape::constant, Shape::graded,      Shape::tiny};

template <Scalar T>
Band<T> make_band(index_t n, index_t b, Shape shape = Shape::random) {
  using R = real_t<T>;
  Band<T> band{n, b, HostMatrix<T>(b + 1, n)};
  const HostMatrix<T> entries = random_matrix<T>(b + 1, n, 7);
  std::mt19937 random(11);
  const double range = std::log2(static_cast<double>(std::numeric_limits<R>::min()));
  for (index_t j = 0; j < n; ++j) {
    for (index_t k = 0; k <= b; ++k) {
      T& entry = band.lower(k, j);
      if (j + k >= n) {
        entry = quiet_nan<T>();
        continue;
      }
      const index_t i = j + k;
      entry = entries(k, j);
      if (shape == Shape::tridiagonal && k > 1) entry = 0;
      if (shape == Shape::diagonal && k > 0) entry = 0;
      if (shape == Shape::zero) entry = 0;
      if (shape == Shape::decoupled && j / 5 != i / 5) entry = 0;
      if (shape == Shape::sparse && k > 0 && random() % 8 != 0) entry = 0;
      if (shape == Shape::constant) entry = 1;
      if (shape == Shape::graded) {
        entry *= static_cast<R>(
            std::exp2(range * static_cast<double>(i + j) / static_cast<double>(2 * n)));
      }
      if (shape == Shape::tiny) entry *= 1000 * std::numeric_limits<R>::min();
      if constexpr (jaxmg::is_complex_v<T>) {
        if (k == 0) entry.imag(std::numeric_limits<R>::quiet_NaN());
      }
    }
  }
  return band;
}

/// d, e and Q2, as columns of all ranks.
template <Scalar T>
struct Tridiagonal {
  std::vector<real_t<T>> d, e;
  HostMatrix<T> Q;
};

/// The first of rank p's columns of V: as even as can be, but that rank 1 of several has none.
index_t first_column(index_t n, int ranks, int p) {
  if (ranks > 2 && p == 2) p = 1;
  return n * p / ranks;
}

/// Storage of exactly the size that a plan tells, full of NaN.
template <class Kind>
class Workspace {
 public:
  template <class Carve>
  auto carve(Carve take) {
    Arena counting;
    take(counting);
    bytes_.assign(counting.bytes(), std::byte{0xff});
    Arena arena(bytes_.data());
    return take(arena);
  }

 private:
  typename Kind::template Vector<std::byte> bytes_;
};

/// The rank programs on all ranks. Z = I, in the storage of every other wave's results: real where
/// n is even, else of type T. What nobody may need any more is overwritten as soon as that is
/// promised.
template <class P, Scalar T>
Tridiagonal<T> reduce(const Band<T>& band, const BulgeChasingPlan& plan, bool direct,
                      bool eigenvectors = true) {
  using B = typename P::Kind::Backend;
  using R = real_t<T>;
  const index_t n = band.n;
  const auto ranks = static_cast<std::size_t>(plan.ranks);
  std::vector<Tridiagonal<T>> results(ranks);
  // What a rank has is there until all have met.
  using Kind = typename P::Kind;
  std::vector<Workspace<Kind>> forms(ranks), chasing(ranks), transforming(ranks);
  std::vector<Shared<Kind, T>> shards(ranks, Shared<Kind, T>(0, 0));
  std::vector<Shared<Kind, T>> others(ranks, Shared<Kind, T>(0, 0));
  P::Kind::run({plan.ranks, 0, direct}, [&](jaxmg::Rank<B>& rank) {
    const int me = rank.index();
    const auto p = static_cast<std::size_t>(me);
    auto& panel = rank.panel();
    const auto spoil = [&](MatrixView<T> view) { B::fill(panel, quiet_nan<T>(), view); };
    const auto move = [&]<class S>(S* from, index_t count, std::vector<S>& to) {
      to.resize(static_cast<std::size_t>(std::max<index_t>(count, 0)));
      const MatrixView<S> view(from, count, 1, count);
      B::template copy<S>(panel, view, {to.data(), count, 1, count});
      B::fill(panel, quiet_nan<S>(), view);
    };
    const jaxmg::BulgeSweeps sweeps = plan.sweeps();
    const auto form = forms[p].carve([&](Arena& arena) {
      return jaxmg::carve_tridiagonal_form<T>(arena, plan, me, eigenvectors);
    });
    const auto work = chasing[p].carve(
        [&](Arena& arena) { return jaxmg::carve_bulge_chasing<T>(arena, plan, me, eigenvectors); });
    spoil(form.reflectors);
    B::fill(panel, R(0), MatrixView<R>(form.d, n, 1, n));
    B::fill(panel, R(0), MatrixView<R>(form.e, n - 1, 1, n));
    const MatrixView<const T> lower = me == 0 ? band.lower.view() : MatrixView<const T>();
    jaxmg::bulge_chasing<B, T>(rank, sweeps, lower, work, form);
    move(form.d, n, results[p].d);
    move(form.e, n - 1, results[p].e);
    spoil(work.band);
    for (const MatrixView<T>& staging : work.staging) spoil(staging);
    if (!eigenvectors) return;

    const index_t first = first_column(n, plan.ranks, me);
    const index_t m = first_column(n, plan.ranks, me + 1) - first;
    const auto back = transforming[p].carve([&](Arena& arena) {
      return jaxmg::carve_bulge_back_transform<T>(arena, plan, m, rank.reads_peers_directly());
    });
    const auto spoil_scratch = [&] {
      for (const MatrixView<T>& view : back.chunks) spoil(view);
      for (const MatrixView<T>& view : back.diamonds) spoil(view);
    };
    const MatrixView<T> U = (shards[p] = Shared<Kind, T>(m, n)).view();
    const MatrixView<T> other = (others[p] = Shared<Kind, T>(m, n)).view();
    spoil(U);
    spoil_scratch();
    const auto transform = [&]<class S>(MatrixView<S> Z) {
      B::fill(panel, S(0), Z);
      for (index_t j = 0; j < m; ++j) B::fill(panel, S(1), Z.block(first + j, j, 1, 1));
      jaxmg::bulge_back_transform<B, T, S>(rank, sweeps, plan.group, form.reflectors, form.phases,
                                           Z, U, other, back);
    };
    if (n % 2 == 0) {
      transform(MatrixView<R>(reinterpret_cast<R*>(other.data), n, m, n));
    } else {
      transform(MatrixView<T>(other.data, n, m, n));
    }
    results[p].Q = HostMatrix<T>(n, m);
    HostMatrix<T> adjoint(m, n);
    B::template copy<T>(panel, U, adjoint.view());
    panel.synchronize();
    for (index_t j = 0; j < m; ++j) {
      for (index_t i = 0; i < n; ++i) results[p].Q(i, j) = conjugate(adjoint(j, i));
    }
    spoil(U);
    spoil(other);
    spoil(form.reflectors);
    spoil_scratch();
  });

  Tridiagonal<T> whole{results[0].d, results[0].e, HostMatrix<T>(n, eigenvectors ? n : 0)};
  for (int p = 0; p < plan.ranks && eigenvectors; ++p) {
    const HostMatrix<T>& V = results[static_cast<std::size_t>(p)].Q;
    const index_t first = first_column(n, plan.ranks, p);
    if (V.cols() > 0) std::copy_n(V.view().data, n * V.cols(), &whole.Q(0, first));
  }
  for (const Tridiagonal<T>& other : results) {
    for (std::size_t i = 0; i < whole.d.size(); ++i) {
      EXPECT_TRUE(other.d[i] == whole.d[i] || whole.d[i] != whole.d[i]);
    }
    for (std::size_t i = 0; i < whole.e.size(); ++i) {
      EXPECT_TRUE(other.e[i] == whole.e[i] || whole.e[i] != whole.e[i]);
    }
  }
  return whole;
}

template <Scalar T>
HostMatrix<Complex> widened(const HostMatrix<T>& A) {
  HostMatrix<Complex> wide(A.rows(), A.cols());
  for (index_t j = 0; j < A.cols(); ++j) {
    for (index_t i = 0; i < A.rows(); ++i) wide(i, j) = Complex(A(i, j));
  }
  return wide;
}

template <class Entry>
double norm_1(index_t n, Entry entry) {
  double norm = 0;
  for (index_t j = 0; j < n; ++j) {
    double sum = 0;
    for (index_t i = 0; i < n; ++i) sum += std::abs(Complex(entry(i, j)));
    norm = std::max(norm, sum);
    if (sum != sum) return sum;
  }
  return norm;
}

template <Scalar T>
HostMatrix<T> full(const Band<T>& B) {
  HostMatrix<T> A(B.n, B.n);
  for (index_t j = 0; j < B.n; ++j) {
    for (index_t i = 0; i < B.n; ++i) A(i, j) = B(i, j);
  }
  return A;
}

template <Scalar T>
HostMatrix<T> full(const Tridiagonal<T>& form) {
  const auto n = static_cast<index_t>(form.d.size());
  HostMatrix<T> A(n, n);
  for (index_t j = 0; j < n; ++j) {
    A(j, j) = form.d[static_cast<std::size_t>(j)];
    if (j + 1 < n) A(j + 1, j) = A(j, j + 1) = form.e[static_cast<std::size_t>(j)];
  }
  return A;
}

/// max |difference of eigenvalues| / (n eps ||B||_1), with LAPACK's of B.
template <Scalar T>
double eigenvalue_error(const Band<T>& B, const Tridiagonal<T>& result) {
  if (B.n == 0) return 0;
  const int n = static_cast<int>(B.n), b = static_cast<int>(B.b), ld = b + 1, one = 1;
  HostMatrix<Complex> band = widened(B.lower);
  for (index_t j = 0; j < B.n; ++j) band(0, j) = Complex(B(j, j));
  const auto size = static_cast<std::size_t>(n);
  std::vector<double> w(size), real_work(3 * size), d(result.d.begin(), result.d.end()),
      e(result.e.begin(), result.e.end());
  std::vector<Complex> work(size);
  Complex unused;
  int info = 0;
  JAXMG_JOIN(JAXMG_BLAS_PREFIX, zhbev, _)
  ("N", "L", &n, &b, band.view().data, &ld, w.data(), &unused, &one, work.data(), real_work.data(),
   &info);
  EXPECT_EQ(info, 0);
  JAXMG_JOIN(JAXMG_BLAS_PREFIX, dsterf, _)(&n, d.data(), e.data(), &info);
  EXPECT_EQ(info, 0);
  double error = 0;
  for (std::size_t i = 0; i < size; ++i) error = std::max(error, std::abs(w[i] - d[i]));
  const double norm = norm_1(B.n, B);
  const double eps = std::numeric_limits<real_t<T>>::epsilon();
  return (norm == 0 ? error : error / norm) / (n * eps);
}

template <Scalar T>
void expect_reduced(const Band<T>& B, const Tridiagonal<T>& result) {
  for (const real_t<T> e : result.e) EXPECT_GE(e, 0);
  EXPECT_LT(similarity_residual(full(B), result.Q, full(result)), 10);
  EXPECT_LT(orthogonality_residual(result.Q), 10);
  EXPECT_LT(eigenvalue_error(B, result), 10);
}

template <class P>
class BulgeChasing : public jaxmg::testing::KindTest<typename P::Kind> {};
TYPED_TEST_SUITE(BulgeChasing, jaxmg::testing::OnAllKinds, jaxmg::testing::KindNames);

TYPED_TEST(BulgeChasing, ReducesEverySizeAndBandwidth) {
  using T = typename TypeParam::type;
  int turn = 0, shift = 0;
  for (const index_t b : {1, 2, 3, 8, 32}) {
    for (const index_t n :
         {index_t{0}, index_t{1}, index_t{2}, index_t{3}, b, b + 1, 2 * b + 1, index_t{41}}) {
      const Band<T> band = make_band<T>(n, b);
      shift = 1 - shift;
      for (const int ranks : {1 + shift, 3 + shift}) {
        // Chunks, groups, waves and columns in all sizes, in turn.
        ++turn;
        const index_t chunk = std::array{1, 5, 13, 1000}[static_cast<std::size_t>((turn + b) % 4)];
        const index_t group = std::array{index_t{1}, std::max<index_t>(1, b / 2), b, b + 3,
                                         b}[static_cast<std::size_t>(turn % 5)];
        const BulgeChasingPlan plan{n, b, ranks, chunk, group, 1 + turn % 3};
        SCOPED_TRACE(::testing::Message() << "n = " << n << ", b = " << b << ", P = " << ranks
                                          << ", chunk " << chunk << ", group " << group);
        expect_reduced(band, reduce<TypeParam>(band, plan, turn % 8 < 4));
      }
      ++turn;
    }
  }
}

TYPED_TEST(BulgeChasing, ReducesManyLevelsOnEveryNumberOfRanks) {
  using T = typename TypeParam::type;
  const index_t n = 83, b = 8;
  const Band<T> band = make_band<T>(n, b);
  for (const int ranks : {1, 2, 3, 4, 8}) {
    for (const bool direct : {true, false}) {
      SCOPED_TRACE(::testing::Message() << "P = " << ranks << (direct ? ", shared" : ", separate"));
      const BulgeChasingPlan plan{n, b, ranks, 17, b, 4};
      expect_reduced(band, reduce<TypeParam>(band, plan, direct));
    }
  }
}

TYPED_TEST(BulgeChasing, ReducesAWideBand) {
  using T = typename TypeParam::type;
  const Band<T> band = make_band<T>(161, 32);
  expect_reduced(band, reduce<TypeParam>(band, {161, 32, 3, 70, 32, 3}, false));
  for (const index_t b : {33, 64}) {
    const Band<T> wide = make_band<T>(140, b);
    expect_reduced(wide, reduce<TypeParam>(wide, {140, b, 2, 80, b, 2}, true));
  }
}

TYPED_TEST(BulgeChasing, ReducesSpecialMatrices) {
  using T = typename TypeParam::type;
  for (const Shape shape : all_shapes) {
    for (const index_t b : {1, 3, 8}) {
      SCOPED_TRACE(::testing::Message() << "shape " << static_cast<int>(shape) << ", b = " << b);
      const Band<T> band = make_band<T>(38, b, shape);
      expect_reduced(band, reduce<TypeParam>(band, {38, b, 2, 10, b, 2}, true));
    }
  }
}

TYPED_TEST(BulgeChasing, LeavesATridiagonalMatrixAsItIsButForSigns) {
  using T = typename TypeParam::type;
  const Band<T> band = make_band<T>(20, 4, Shape::tridiagonal);
  const Tridiagonal<T> result = reduce<TypeParam>(band, {20, 4, 2, 7, 4, 2}, true);
  for (index_t j = 0; j < 20; ++j) {
    const auto at = static_cast<std::size_t>(j);
    EXPECT_EQ(result.d[at], real_part(band(j, j)));
    if (j + 1 < 20) {
      const real_t<T> e = std::abs(band(j + 1, j));  // devices round it differently
      EXPECT_NEAR(result.e[at], e, 2 * std::numeric_limits<real_t<T>>::epsilon() * e);
    }
    for (index_t i = 0; i < 20; ++i) {
      EXPECT_NEAR(std::abs(result.Q(i, j)), i == j ? 1 : 0,
                  4 * std::numeric_limits<real_t<T>>::epsilon());
    }
  }
}

TYPED_TEST(BulgeChasing, GivesTheSameValuesWithoutVectors) {
  using T = typename TypeParam::type;
  for (const index_t n : {0, 1, 2, 3, 50}) {
    const Band<T> band = make_band<T>(n, 6);
    for (const int ranks : {1, 3}) {
      const BulgeChasingPlan plan{n, 6, ranks, 9, 6, 2};
      const Tridiagonal<T> both = reduce<TypeParam>(band, plan, true);
      const Tridiagonal<T> values = reduce<TypeParam>(band, plan, true, false);
      EXPECT_EQ(values.d, both.d);
      EXPECT_EQ(values.e, both.e);
    }
  }
}

TYPED_TEST(BulgeChasing, EndsWithNaNWhereThereIsOne) {
  using T = typename TypeParam::type;
  const auto is_bad = [](real_t<T> x) { return !std::isfinite(x); };
  for (const Shape shape : {Shape::random, Shape::diagonal}) {
    for (const index_t i : {0, 7, 26, 29}) {
      for (const index_t k : {0, 1, 3}) {
        if (i + k >= 30) continue;
        for (const T bad : {quiet_nan<T>(), T(std::numeric_limits<real_t<T>>::infinity())}) {
          Band<T> band = make_band<T>(30, 4, shape);
          band.lower(k, i) = bad;
          const Tridiagonal<T> result = reduce<TypeParam>(band, {30, 4, 2, 8, 4, 2}, false);
          EXPECT_TRUE(std::any_of(result.d.begin(), result.d.end(), is_bad) ||
                      std::any_of(result.e.begin(), result.e.end(), is_bad));
        }
      }
    }
  }
}

TYPED_TEST(BulgeChasing, ReducesUnderRandomScheduling) {
  using T = typename TypeParam::type;
  const Band<T> band = make_band<T>(29, 4);
  for (const unsigned seed : {1U, 2U}) {
    jaxmg::set_cpu_chaos(seed, 50);
    for (const int ranks : {1, 2, 3}) {
      for (const bool direct : {true, false}) {
        SCOPED_TRACE(::testing::Message() << "seed " << seed << ", P = " << ranks << direct);
        expect_reduced(band, reduce<TypeParam>(band, {29, 4, ranks, 6, 4, 2}, direct));
      }
    }
  }
}

}  // namespace
