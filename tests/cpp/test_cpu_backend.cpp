#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "device/cpu/backend.hpp"

namespace jaxmg::cpu {
namespace {

/// A window on storage that is larger on all sides, so that strays show.
template <class T>
class Matrix {
 public:
  Matrix(index_t rows, index_t cols)
      : rows_(rows),
        cols_(cols),
        ld_(rows + 3),
        storage_(static_cast<std::size_t>(ld_ * (cols + 2)), T(77)) {}

  MatrixView<T> view() { return {storage_.data() + ld_ + 1, rows_, cols_, ld_}; }
  MatrixView<const T> const_view() { return view(); }
  T& operator()(index_t i, index_t j) { return view()(i, j); }

  bool frame_is_untouched() {
    for (index_t j = -1; j <= cols_; ++j) {
      for (index_t i = -1; i <= rows_ + 1; ++i) {
        const bool inside = i >= 0 && i < rows_ && j >= 0 && j < cols_;
        if (!inside && !(view()(i, j) == T(77))) return false;
      }
    }
    return true;
  }

 private:
  index_t rows_, cols_, ld_;
  std::vector<T> storage_;
};

template <class T>
class CpuBackend : public ::testing::Test {
 protected:
  using R = real_t<T>;

  void SetUp() override { set_permits(2); }

  /// Entries in the unit square.
  Matrix<T> random(index_t rows, index_t cols) {
    std::uniform_real_distribution<R> entry(-1, 1);
    Matrix<T> matrix(rows, cols);
    for (index_t j = 0; j < cols; ++j) {
      for (index_t i = 0; i < rows; ++i) {
        if constexpr (is_complex_v<T>) {
          matrix(i, j) = T(entry(generator_), entry(generator_));
        } else {
          matrix(i, j) = entry(generator_);
        }
      }
    }
    return matrix;
  }

  /// Lower triangular and well conditioned; NaN in the triangle that nobody may read.
  Matrix<T> random_lower(index_t n) {
    Matrix<T> L = random(n, n);
    for (index_t j = 0; j < n; ++j) {
      for (index_t i = 0; i < j; ++i) L(i, j) = nan();
      for (index_t i = j + 1; i < n; ++i) L(i, j) /= static_cast<R>(n);
      L(j, j) = T(1) + L(j, j) / R(4);
    }
    return L;
  }

  static T nan() { return T(std::numeric_limits<R>::quiet_NaN()); }
  static T lower(Matrix<T>& L, index_t i, index_t j) { return i >= j ? L(i, j) : T(0); }
  static T apply(Op op, Matrix<T>& matrix, index_t i, index_t j) {
    return op == Op::none ? matrix(i, j) : conjugate(matrix(j, i));
  }

  /// `terms`: how many products of numbers around one an entry is the sum of.
  static void expect_near(T got, T expected, index_t terms) {
    const R bound = 16 * static_cast<R>(terms + 1) * std::numeric_limits<R>::epsilon();
    EXPECT_LE(std::abs(got - expected), bound * (1 + std::abs(expected)));
  }

  Queue queue_{Priority::normal};

 private:
  std::mt19937 generator_{20240607};
};

using Scalars = ::testing::Types<float, double, std::complex<float>, std::complex<double>>;
TYPED_TEST_SUITE(CpuBackend, Scalars);

struct Shape {
  index_t rows, cols;
};
constexpr Shape shapes[] = {{0, 0}, {0, 4}, {4, 0}, {1, 1}, {1, 7}, {7, 1}, {5, 5}, {33, 17}};
constexpr index_t orders[] = {0, 1, 2, 5, 31, 64};

TYPED_TEST(CpuBackend, CopyAndAdd) {
  using T = TypeParam;
  for (const auto [rows, cols] : shapes) {
    Matrix<T> source = this->random(rows, cols), copy = this->random(rows, cols),
              sum = this->random(rows, cols);
    Matrix<T> before = sum;
    Backend::copy<T>(this->queue_, source.view(), copy.view());
    Backend::add<T>(this->queue_, source.view(), sum.view());
    this->queue_.synchronize();
    for (index_t j = 0; j < cols; ++j) {
      for (index_t i = 0; i < rows; ++i) {
        EXPECT_EQ(copy(i, j), source(i, j));
        EXPECT_EQ(sum(i, j), before(i, j) + source(i, j));
      }
    }
    EXPECT_TRUE(copy.frame_is_untouched() && sum.frame_is_untouched());
  }
}

TYPED_TEST(CpuBackend, Fill) {
  using T = TypeParam;
  const std::int32_t good = 0, bad = 3;
  for (const auto [rows, cols] : shapes) {
    Matrix<T> filled = this->random(rows, cols), kept = filled, lost = filled;
    Matrix<T> before = kept;
    Backend::fill<T>(this->queue_, T(5), filled.view());
    Backend::fill_nan_if<T>(this->queue_, &good, kept.view());
    Backend::fill_nan_if<T>(this->queue_, &bad, lost.view());
    this->queue_.synchronize();
    for (index_t j = 0; j < cols; ++j) {
      for (index_t i = 0; i < rows; ++i) {
        EXPECT_EQ(filled(i, j), T(5));
        EXPECT_EQ(kept(i, j), before(i, j));
        EXPECT_TRUE(std::isnan(real_part(lost(i, j))));
      }
    }
    EXPECT_TRUE(filled.frame_is_untouched() && kept.frame_is_untouched() &&
                lost.frame_is_untouched());
  }
}

TYPED_TEST(CpuBackend, CopyLower) {
  using T = TypeParam;
  for (const index_t n : orders) {
    Matrix<T> L = this->random_lower(n), copy = this->random(n, n);
    Backend::copy_lower<T>(this->queue_, L.view(), copy.view());
    this->queue_.synchronize();
    for (index_t j = 0; j < n; ++j) {
      for (index_t i = 0; i < n; ++i) EXPECT_EQ(copy(i, j), this->lower(L, i, j));
    }
    EXPECT_TRUE(copy.frame_is_untouched());
  }
}

TYPED_TEST(CpuBackend, ConjTranspose) {
  using T = TypeParam;
  for (const auto [rows, cols] : shapes) {
    Matrix<T> source = this->random(rows, cols), transposed = this->random(cols, rows);
    Backend::conj_transpose<T>(this->queue_, source.view(), transposed.view());
    this->queue_.synchronize();
    for (index_t j = 0; j < cols; ++j) {
      for (index_t i = 0; i < rows; ++i) EXPECT_EQ(transposed(j, i), conjugate(source(i, j)));
    }
    EXPECT_TRUE(transposed.frame_is_untouched());
  }
}

TYPED_TEST(CpuBackend, Gemm) {
  using T = TypeParam;
  for (const auto [m, n] : shapes) {
    for (const index_t k : {0, 1, 9}) {
      for (const Op op_a : {Op::none, Op::conj_trans}) {
        for (const Op op_b : {Op::none, Op::conj_trans}) {
          for (const T beta : {T(1), T(0), T(-2)}) {
            Matrix<T> A = op_a == Op::none ? this->random(m, k) : this->random(k, m);
            Matrix<T> B = op_b == Op::none ? this->random(k, n) : this->random(n, k);
            Matrix<T> C = this->random(m, n);
            Matrix<T> before = C;
            const T alpha(-0.5);
            Backend::gemm<T>(this->queue_, op_a, op_b, alpha, A.view(), B.view(), beta, C.view());
            this->queue_.synchronize();
            for (index_t j = 0; j < n; ++j) {
              for (index_t i = 0; i < m; ++i) {
                T sum(0);
                for (index_t l = 0; l < k; ++l) {
                  sum += this->apply(op_a, A, i, l) * this->apply(op_b, B, l, j);
                }
                this->expect_near(C(i, j), alpha * sum + beta * before(i, j), k);
              }
            }
            EXPECT_TRUE(C.frame_is_untouched());
          }
        }
      }
    }
  }
}

TYPED_TEST(CpuBackend, GemmWithBetaZeroDoesNotReadTheResult) {
  using T = TypeParam;
  for (const index_t m : {1, 6}) {
    for (const index_t k : {0, 3}) {
      Matrix<T> A = this->random(m, k), B = this->random(k, 5), C(m, 5);
      Backend::fill<T>(this->queue_, this->nan(), C.view());
      Backend::gemm<T>(this->queue_, Op::none, Op::none, T(1), A.view(), B.view(), T(0), C.view());
      this->queue_.synchronize();
      EXPECT_FALSE(std::isnan(real_part(C(m - 1, 4)))) << m << " rows, inner size " << k;
    }
  }
}

TYPED_TEST(CpuBackend, TrapezoidUpdate) {
  using T = TypeParam;
  for (const auto [cols, below] : shapes) {
    for (const index_t k : {0, 1, 8}) {
      Matrix<T> W = this->random(cols + below, k), C = this->random(cols + below, cols);
      Matrix<T> before = C;
      Backend::trapezoid_update<T>(this->queue_, W.view(), C.view());
      this->queue_.synchronize();
      for (index_t j = 0; j < cols; ++j) {
        for (index_t i = j; i < cols + below; ++i) {
          T sum(0);
          for (index_t l = 0; l < k; ++l) sum += W(i, l) * conjugate(W(j, l));
          // The diagonal of a Hermitian update is real.
          const T expected = before(i, j) - sum;
          this->expect_near(C(i, j), i == j && k > 0 ? T(real_part(expected)) : expected, k);
        }
      }
      EXPECT_TRUE(C.frame_is_untouched());
    }
  }
}

TYPED_TEST(CpuBackend, Trsm) {
  using T = TypeParam;
  for (const index_t n : orders) {
    Matrix<T> L = this->random_lower(n);
    for (const index_t m : {0, 1, 9}) {
      for (const Side side : {Side::left, Side::right}) {
        for (const Op op : {Op::none, Op::conj_trans}) {
          const bool left = side == Side::left;
          Matrix<T> B = left ? this->random(n, m) : this->random(m, n);
          Matrix<T> X = B;
          Backend::trsm<T>(this->queue_, side, op, L.view(), X.view());
          this->queue_.synchronize();
          const auto entry = [&](index_t i, index_t j) {
            return op == Op::none ? this->lower(L, i, j) : conjugate(this->lower(L, j, i));
          };
          for (index_t j = 0; j < B.view().cols; ++j) {
            for (index_t i = 0; i < B.view().rows; ++i) {
              T product(0);
              for (index_t l = 0; l < n; ++l) {
                product += left ? entry(i, l) * X(l, j) : X(i, l) * entry(l, j);
              }
              this->expect_near(product, B(i, j), n);
            }
          }
          EXPECT_TRUE(X.frame_is_untouched());
        }
      }
    }
  }
}

TYPED_TEST(CpuBackend, Potrf) {
  using T = TypeParam;
  for (const index_t n : orders) {
    Matrix<T> G = this->random_lower(n), A(n, n);
    for (index_t j = 0; j < n; ++j) {
      G(j, j) = T(1 + std::abs(real_part(G(j, j))));
      for (index_t i = 0; i < n; ++i) {
        T sum(0);
        for (index_t l = 0; l <= j; ++l) sum += this->lower(G, i, l) * conjugate(G(j, l));
        A(i, j) = i >= j ? sum : this->nan();
      }
    }
    std::int32_t info = 0;
    Backend::potrf<T>(this->queue_, A.view(), 100, &info);
    this->queue_.synchronize();
    EXPECT_EQ(info, 0);
    for (index_t j = 0; j < n; ++j) {
      for (index_t i = j; i < n; ++i) this->expect_near(A(i, j), G(i, j), n);
    }
    EXPECT_TRUE(A.frame_is_untouched());
  }
}

TYPED_TEST(CpuBackend, PotrfTellsTheFirstMinorThatIsNotPositiveDefinite) {
  using T = TypeParam;
  constexpr index_t n = 40, first_row = 100;
  const auto info_of = [&](index_t at, T diagonal, std::int32_t info_before) {
    Matrix<T> A(n, n);
    for (index_t j = 0; j < n; ++j) {
      for (index_t i = 0; i < n; ++i) A(i, j) = i == j ? T(2) : T(0);
    }
    A(at, at) = diagonal;
    std::int32_t info = info_before;
    Backend::potrf<T>(this->queue_, A.view(), first_row, &info);
    this->queue_.synchronize();
    return info;
  };
  const T infinity(std::numeric_limits<real_t<T>>::infinity());
  for (const index_t at : {index_t{0}, index_t{7}, n - 1}) {
    for (const T diagonal : {T(0), T(-1), this->nan(), infinity, -infinity}) {
      EXPECT_EQ(info_of(at, diagonal, 0), first_row + at + 1) << "diagonal " << diagonal;
      EXPECT_EQ(info_of(at, diagonal, 5), 5) << "an earlier failure stays";
    }
  }
}

TYPED_TEST(CpuBackend, PotrfNoticesANanBelowTheDiagonal) {
  using T = TypeParam;
  Matrix<T> A(6, 6);
  Backend::fill<T>(this->queue_, T(0), A.view());
  this->queue_.synchronize();
  for (index_t j = 0; j < 6; ++j) A(j, j) = T(2);
  A(4, 1) = this->nan();
  std::int32_t info = 0;
  Backend::potrf<T>(this->queue_, A.view(), 0, &info);
  this->queue_.synchronize();
  EXPECT_EQ(info, 5) << "row 4's own diagonal is the first that the NaN reaches";
}

TYPED_TEST(CpuBackend, InvertsDiagonalBlocks) {
  using T = TypeParam;
  const index_t n = 23;
  for (const index_t width : {1, 5, 22, 23}) {
    Matrix<T> L = this->random_lower(n), X = this->random(width, n);
    Backend::invert_diagonal_blocks<T>(this->queue_, L.view(), width, X.view());
    this->queue_.synchronize();
    for (index_t b = 0; b < n; b += width) {
      const index_t w = std::min(width, n - b);
      for (index_t j = 0; j < w; ++j) {
        for (index_t i = 0; i < w; ++i) {
          if (i < j) {
            EXPECT_EQ(X(i, b + j), T(0));
            continue;
          }
          T product(0);
          for (index_t l = j; l <= i; ++l) product += L(b + i, b + l) * X(l, b + j);
          this->expect_near(product, i == j ? T(1) : T(0), n);
        }
      }
    }
    EXPECT_TRUE(X.frame_is_untouched());
  }
}

TYPED_TEST(CpuBackend, InvertsOneDiagonalBlock) {
  using T = TypeParam;
  for (const index_t n : orders) {
    Matrix<T> L = this->random_lower(n), X = this->random(n, n);
    Backend::invert_diagonal_blocks<T>(this->queue_, L.view(), std::max<index_t>(n, 1), X.view());
    this->queue_.synchronize();
    for (index_t j = 0; j < n; ++j) {
      for (index_t i = 0; i < n; ++i) {
        if (i < j) {
          EXPECT_EQ(X(i, j), T(0));
          continue;
        }
        T product(0);
        for (index_t l = j; l <= i; ++l) product += L(i, l) * X(l, j);
        this->expect_near(product, i == j ? T(1) : T(0), n);
      }
    }
    EXPECT_TRUE(X.frame_is_untouched());
  }
}

TYPED_TEST(CpuBackend, AddLogdet) {
  using T = TypeParam;
  double sum = 1.5, expected = 1.5;
  for (const index_t n : orders) {
    Matrix<T> L = this->random_lower(n);
    Backend::add_logdet<T>(this->queue_, L.view(), &sum);
    this->queue_.synchronize();
    for (index_t i = 0; i < n; ++i) {
      expected += 2 * std::log(static_cast<double>(real_part(L(i, i))));
    }
  }
  EXPECT_NEAR(sum, expected, 1e-12);
}

using CpuBackendScalars = CpuBackend<double>;

TEST_F(CpuBackendScalars, FirstFailure) {
  const auto first = [this](std::vector<std::int32_t> infos) {
    std::int32_t out = -1;
    Backend::first_failure(queue_, infos.data(), static_cast<int>(infos.size()), &out);
    queue_.synchronize();
    return out;
  };
  EXPECT_EQ(first({}), 0);
  EXPECT_EQ(first({0, 0, 0}), 0);
  EXPECT_EQ(first({0, 9, 4, 0, 7}), 4);
  EXPECT_EQ(first({3}), 3);
}

TEST_F(CpuBackendScalars, TotalAndRoundTo) {
  const std::vector<double> sums = {1, 0.5, -3};
  double total = 99, rounded = 0;
  float narrow = 0;
  Backend::total(queue_, sums.data(), 3, &total);
  Backend::round_to(queue_, &total, &rounded);
  Backend::round_to(queue_, &total, &narrow);
  queue_.synchronize();
  EXPECT_EQ(total, -1.5);
  EXPECT_EQ(rounded, -1.5);
  EXPECT_EQ(narrow, -1.5F);
  Backend::total(queue_, sums.data(), 0, &total);
  queue_.synchronize();
  EXPECT_EQ(total, 0);
}

TEST_F(CpuBackendScalars, IntegersMoveToo) {
  std::vector<std::int32_t> from = {1, 2, 3}, to = {0, 0, 0};
  Backend::copy<std::int32_t>(queue_, {from.data(), 3, 1, 3}, {to.data(), 3, 1, 3});
  Backend::fill<std::int32_t>(queue_, 7, {to.data() + 1, 1, 1, 1});
  Backend::fill<std::int32_t>(queue_, 9, {});
  queue_.synchronize();
  EXPECT_EQ(to, (std::vector<std::int32_t>{1, 7, 3}));
}

}  // namespace
}  // namespace jaxmg::cpu
