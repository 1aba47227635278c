// The contract's operations, one by one.
#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "kinds.hpp"

namespace jaxmg::testing {
namespace {

/// A window on storage that is larger on all sides, so that strays show.
template <class P>
class Matrix {
 public:
  using T = typename P::type;

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
  typename P::Kind::template Vector<T> storage_;
};

/// One number that the kind's devices can work on.
template <class Kind, class T>
class Cell {
 public:
  explicit Cell(T value) : storage_(1, value) {}
  T* get() { return storage_.data(); }
  T& operator*() { return storage_[0]; }

 private:
  typename Kind::template Vector<T> storage_;
};

/// A queue of one device.
template <class Kind>
class QueueTest : public KindTest<Kind> {
 protected:
  using Ops = typename Kind::Backend;

  void SetUp() override {
    KindTest<Kind>::SetUp();
    if (this->IsSkipped()) return;
    cpu::set_permits(2);
    device_ = Kind::device();
    queue_ = std::make_unique<typename Ops::Queue>(*device_, Priority::normal);
  }
  typename Ops::Queue& queue() { return *queue_; }

 private:
  std::unique_ptr<typename Ops::Device> device_;
  std::unique_ptr<typename Ops::Queue> queue_;
};

template <class P>
class BackendOf : public QueueTest<typename P::Kind> {
 protected:
  using Value = typename P::type;
  using R = real_t<Value>;

  /// Entries in the unit square.
  Matrix<P> random(index_t rows, index_t cols) {
    std::uniform_real_distribution<R> entry(-1, 1);
    Matrix<P> matrix(rows, cols);
    for (index_t j = 0; j < cols; ++j) {
      for (index_t i = 0; i < rows; ++i) {
        if constexpr (is_complex_v<Value>) {
          matrix(i, j) = Value(entry(generator_), entry(generator_));
        } else {
          matrix(i, j) = entry(generator_);
        }
      }
    }
    return matrix;
  }

  /// Lower triangular and well conditioned; NaN in the triangle that nobody may read.
  Matrix<P> random_lower(index_t n) {
    Matrix<P> L = random(n, n);
    for (index_t j = 0; j < n; ++j) {
      for (index_t i = 0; i < j; ++i) L(i, j) = nan();
      for (index_t i = j + 1; i < n; ++i) L(i, j) /= static_cast<R>(n);
      L(j, j) = Value(1 + real_part(L(j, j)) / 4);
    }
    return L;
  }

  static Value nan() { return Value(std::numeric_limits<R>::quiet_NaN()); }
  static Value lower(Matrix<P>& L, index_t i, index_t j) { return i >= j ? L(i, j) : Value(0); }
  static Value apply(Op op, Matrix<P>& matrix, index_t i, index_t j) {
    return op == Op::none ? matrix(i, j) : conjugate(matrix(j, i));
  }

  /// `terms`: how many products of numbers around one an entry is the sum of.
  static void expect_near(Value got, Value expected, index_t terms) {
    const R bound = 16 * static_cast<R>(terms + 1) * std::numeric_limits<R>::epsilon();
    EXPECT_LE(std::abs(got - expected), bound * (1 + std::abs(expected)));
  }

 private:
  std::mt19937 generator_{20240607};
};

TYPED_TEST_SUITE(BackendOf, OnAllKinds, KindNames);

struct Shape {
  index_t rows, cols;
};
constexpr Shape shapes[] = {{0, 0}, {0, 4}, {4, 0}, {1, 1}, {1, 7}, {7, 1}, {5, 5}, {33, 17}};
constexpr index_t orders[] = {0, 1, 2, 5, 31, 64};

TYPED_TEST(BackendOf, CopyAndAdd) {
  using T = typename TypeParam::type;
  using Backend = typename TestFixture::Ops;
  for (const auto [rows, cols] : shapes) {
    Matrix<TypeParam> source = this->random(rows, cols), copy = this->random(rows, cols),
                      sum = this->random(rows, cols);
    Matrix<TypeParam> before = sum;
    Backend::template copy<T>(this->queue(), source.view(), copy.view());
    Backend::template add<T>(this->queue(), source.view(), sum.view());
    this->queue().synchronize();
    for (index_t j = 0; j < cols; ++j) {
      for (index_t i = 0; i < rows; ++i) {
        EXPECT_EQ(copy(i, j), source(i, j));
        EXPECT_EQ(sum(i, j), before(i, j) + source(i, j));
      }
    }
    EXPECT_TRUE(copy.frame_is_untouched() && sum.frame_is_untouched());
  }
}

TYPED_TEST(BackendOf, Fill) {
  using T = typename TypeParam::type;
  using Backend = typename TestFixture::Ops;
  Cell<typename TypeParam::Kind, std::int32_t> good(0), bad(3);
  for (const auto [rows, cols] : shapes) {
    Matrix<TypeParam> filled = this->random(rows, cols), kept = filled, lost = filled;
    Matrix<TypeParam> before = kept;
    Backend::template fill<T>(this->queue(), T(5), filled.view());
    Backend::template fill_nan_if<T>(this->queue(), good.get(), kept.view());
    Backend::template fill_nan_if<T>(this->queue(), bad.get(), lost.view());
    this->queue().synchronize();
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

TYPED_TEST(BackendOf, CopyLower) {
  using T = typename TypeParam::type;
  using Backend = typename TestFixture::Ops;
  for (const index_t n : orders) {
    Matrix<TypeParam> L = this->random_lower(n), copy = this->random(n, n);
    Backend::template copy_lower<T>(this->queue(), L.view(), copy.view());
    this->queue().synchronize();
    for (index_t j = 0; j < n; ++j) {
      for (index_t i = 0; i < n; ++i) EXPECT_EQ(copy(i, j), this->lower(L, i, j));
    }
    EXPECT_TRUE(copy.frame_is_untouched());
  }
}

TYPED_TEST(BackendOf, ConjTranspose) {
  using T = typename TypeParam::type;
  using Backend = typename TestFixture::Ops;
  for (const auto [rows, cols] : shapes) {
    Matrix<TypeParam> source = this->random(rows, cols), transposed = this->random(cols, rows);
    Backend::template conj_transpose<T>(this->queue(), source.view(), transposed.view());
    this->queue().synchronize();
    for (index_t j = 0; j < cols; ++j) {
      for (index_t i = 0; i < rows; ++i) EXPECT_EQ(transposed(j, i), conjugate(source(i, j)));
    }
    EXPECT_TRUE(transposed.frame_is_untouched());
  }
}

TYPED_TEST(BackendOf, MakeHermitian) {
  using T = typename TypeParam::type;
  using Backend = typename TestFixture::Ops;
  for (const index_t n : orders) {
    Matrix<TypeParam> A = this->random(n, n);
    for (index_t j = 0; j < n; ++j) {
      for (index_t i = 0; i < j; ++i) A(i, j) = this->nan();
    }
    Matrix<TypeParam> before = A;
    Backend::template make_hermitian<T>(this->queue(), A.view());
    this->queue().synchronize();
    for (index_t j = 0; j < n; ++j) {
      EXPECT_EQ(A(j, j), T(real_part(before(j, j))));
      for (index_t i = j + 1; i < n; ++i) {
        EXPECT_EQ(A(i, j), before(i, j));
        EXPECT_EQ(A(j, i), conjugate(before(i, j)));
      }
    }
    EXPECT_TRUE(A.frame_is_untouched());
  }
}

TYPED_TEST(BackendOf, Gemm) {
  using T = typename TypeParam::type;
  using Backend = typename TestFixture::Ops;
  for (const auto [m, n] : shapes) {
    for (const index_t k : {0, 1, 9}) {
      for (const Op op_a : {Op::none, Op::conj_trans}) {
        for (const Op op_b : {Op::none, Op::conj_trans}) {
          for (const T beta : {T(1), T(0), T(-2)}) {
            if (k == 0 && beta == T(-2)) continue;  // the contract has no such product
            Matrix<TypeParam> A = op_a == Op::none ? this->random(m, k) : this->random(k, m);
            Matrix<TypeParam> B = op_b == Op::none ? this->random(k, n) : this->random(n, k);
            Matrix<TypeParam> C = this->random(m, n);
            Matrix<TypeParam> before = C;
            const T alpha(-0.5);
            Backend::template gemm<T>(this->queue(), op_a, op_b, alpha, A.view(), B.view(), beta,
                                      C.view());
            this->queue().synchronize();
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

TYPED_TEST(BackendOf, GemmWithBetaZeroDoesNotReadTheResult) {
  using T = typename TypeParam::type;
  using Backend = typename TestFixture::Ops;
  for (const index_t m : {1, 6}) {
    for (const index_t k : {0, 3}) {
      Matrix<TypeParam> A = this->random(m, k), B = this->random(k, 5), C(m, 5);
      Backend::template fill<T>(this->queue(), this->nan(), C.view());
      Backend::template gemm<T>(this->queue(), Op::none, Op::none, T(1), A.view(), B.view(), T(0),
                                C.view());
      this->queue().synchronize();
      EXPECT_FALSE(std::isnan(real_part(C(m - 1, 4)))) << m << " rows, inner size " << k;
    }
  }
}

TYPED_TEST(BackendOf, TrapezoidUpdate) {
  using T = typename TypeParam::type;
  using Backend = typename TestFixture::Ops;
  for (const auto [cols, below] : shapes) {
    for (const index_t k : {0, 1, 8}) {
      Matrix<TypeParam> W = this->random(cols + below, k), C = this->random(cols + below, cols);
      for (index_t j = 0; j < cols; ++j) C(j, j) = T(real_part(C(j, j)));
      Matrix<TypeParam> before = C, added = C;
      Backend::template trapezoid_update<T>(this->queue(), W.view(), C.view());
      Backend::template trapezoid_update<T>(this->queue(), W.view(), added.view(), 1);
      this->queue().synchronize();
      for (index_t j = 0; j < cols; ++j) {
        for (index_t i = j; i < cols + below; ++i) {
          T sum(0);
          for (index_t l = 0; l < k; ++l) sum += W(i, l) * conjugate(W(j, l));
          this->expect_near(C(i, j), before(i, j) - sum, k);
          this->expect_near(added(i, j), before(i, j) + sum, k);
        }
      }
      EXPECT_TRUE(C.frame_is_untouched() && added.frame_is_untouched());
    }
  }
}

TYPED_TEST(BackendOf, Trsm) {
  using T = typename TypeParam::type;
  using Backend = typename TestFixture::Ops;
  for (const index_t n : orders) {
    Matrix<TypeParam> L = this->random_lower(n);
    for (const index_t m : {0, 1, 9}) {
      for (const Side side : {Side::left, Side::right}) {
        for (const Op op : {Op::none, Op::conj_trans}) {
          const bool left = side == Side::left;
          Matrix<TypeParam> B = left ? this->random(n, m) : this->random(m, n);
          Matrix<TypeParam> X = B;
          Backend::template trsm<T>(this->queue(), side, op, L.view(), X.view());
          this->queue().synchronize();
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

TYPED_TEST(BackendOf, Potrf) {
  using T = typename TypeParam::type;
  using Backend = typename TestFixture::Ops;
  for (const index_t n : orders) {
    Matrix<TypeParam> G = this->random_lower(n), A(n, n);
    for (index_t j = 0; j < n; ++j) {
      G(j, j) = T(1 + std::abs(real_part(G(j, j))));
      for (index_t i = 0; i < n; ++i) {
        T sum(0);
        for (index_t l = 0; l <= j; ++l) sum += this->lower(G, i, l) * conjugate(G(j, l));
        A(i, j) = i >= j ? sum : this->nan();
      }
    }
    Cell<typename TypeParam::Kind, std::int32_t> info(0);
    Backend::template potrf<T>(this->queue(), A.view(), 100, info.get());
    this->queue().synchronize();
    EXPECT_EQ(*info, 0);
    for (index_t j = 0; j < n; ++j) {
      for (index_t i = j; i < n; ++i) this->expect_near(A(i, j), G(i, j), n);
    }
    EXPECT_TRUE(A.frame_is_untouched());
  }
}

TYPED_TEST(BackendOf, PotrfTellsTheFirstMinorThatIsNotPositiveDefinite) {
  using T = typename TypeParam::type;
  using Backend = typename TestFixture::Ops;
  constexpr index_t n = 40, first_row = 100;
  const auto info_of = [&](index_t at, T diagonal, std::int32_t info_before) {
    Matrix<TypeParam> A(n, n);
    for (index_t j = 0; j < n; ++j) {
      for (index_t i = 0; i < n; ++i) A(i, j) = i == j ? T(2) : T(0);
    }
    A(at, at) = diagonal;
    Cell<typename TypeParam::Kind, std::int32_t> info(info_before);
    Backend::template potrf<T>(this->queue(), A.view(), first_row, info.get());
    this->queue().synchronize();
    return *info;
  };
  const T infinity(std::numeric_limits<real_t<T>>::infinity());
  for (const index_t at : {index_t{0}, index_t{7}, n - 1}) {
    for (const T diagonal : {T(0), T(-1), this->nan(), infinity, -infinity}) {
      EXPECT_EQ(info_of(at, diagonal, 0), first_row + at + 1) << "diagonal " << diagonal;
      EXPECT_EQ(info_of(at, diagonal, 5), 5) << "an earlier failure stays";
    }
  }
}

TYPED_TEST(BackendOf, NotesTheFirstDiagonalEntryOfNoFactor) {
  using T = typename TypeParam::type;
  using Backend = typename TestFixture::Ops;
  constexpr index_t n = 300, first_row = 100;
  Matrix<TypeParam> L(n, n);
  const auto info_of = [&](std::int32_t before) {
    Cell<typename TypeParam::Kind, std::int32_t> info(before);
    Backend::template note_failure<T>(this->queue(), L.view(), first_row, info.get());
    this->queue().synchronize();
    return *info;
  };
  for (index_t j = 0; j < n; ++j) {
    for (index_t i = 0; i < n; ++i) L(i, j) = i == j ? T(2) : T(-1);
  }
  EXPECT_EQ(info_of(0), 0);
  EXPECT_EQ(info_of(5), 5);
  L(n - 1, n - 1) = T(-1);
  const T infinity(std::numeric_limits<real_t<T>>::infinity());
  for (const index_t at : {n - 1, index_t{70}, index_t{7}, index_t{0}}) {
    for (const T diagonal : {T(0), T(-1), this->nan(), infinity, -infinity}) {
      L(at, at) = diagonal;
      EXPECT_EQ(info_of(0), first_row + at + 1) << "diagonal " << diagonal;
      EXPECT_EQ(info_of(5), 5) << "an earlier failure stays";
    }
  }
}

TYPED_TEST(BackendOf, PotrfNoticesANanBelowTheDiagonal) {
  using T = typename TypeParam::type;
  using Backend = typename TestFixture::Ops;
  Matrix<TypeParam> A(6, 6);
  Backend::template fill<T>(this->queue(), T(0), A.view());
  this->queue().synchronize();
  for (index_t j = 0; j < 6; ++j) A(j, j) = T(2);
  A(4, 1) = this->nan();
  Cell<typename TypeParam::Kind, std::int32_t> info(0);
  Backend::template potrf<T>(this->queue(), A.view(), 0, info.get());
  this->queue().synchronize();
  EXPECT_EQ(*info, 5) << "row 4's own diagonal is the first that the NaN reaches";
}

TYPED_TEST(BackendOf, InvertsDiagonalBlocks) {
  using T = typename TypeParam::type;
  using Backend = typename TestFixture::Ops;
  const index_t n = 200;
  for (const index_t width : {64, 128, 200, 300}) {
    Matrix<TypeParam> L = this->random_lower(n), X = this->random(width, n);
    Backend::template invert_diagonal_blocks<T>(this->queue(), L.view(), width, X.view());
    this->queue().synchronize();
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

TYPED_TEST(BackendOf, InvertsOneDiagonalBlock) {
  using T = typename TypeParam::type;
  using Backend = typename TestFixture::Ops;
  for (const index_t n : orders) {
    Matrix<TypeParam> L = this->random_lower(n), X = this->random(n, n);
    Backend::template invert_diagonal_blocks<T>(this->queue(), L.view(), std::max<index_t>(n, 1),
                                                X.view());
    this->queue().synchronize();
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

TYPED_TEST(BackendOf, AddLogdet) {
  using T = typename TypeParam::type;
  using Backend = typename TestFixture::Ops;
  Cell<typename TypeParam::Kind, double> sum(1.5);
  double expected = 1.5;
  for (const index_t n : orders) {
    Matrix<TypeParam> L = this->random_lower(n);
    Backend::template add_logdet<T>(this->queue(), L.view(), sum.get());
    this->queue().synchronize();
    for (index_t i = 0; i < n; ++i) {
      expected += 2 * std::log(static_cast<double>(real_part(L(i, i))));
    }
  }
  EXPECT_NEAR(*sum, expected, 1e-12);
}

template <class Kind>
class BackendScalars : public QueueTest<Kind> {};
TYPED_TEST_SUITE(BackendScalars, Devices, KindNames);

TYPED_TEST(BackendScalars, FirstFailure) {
  using Backend = typename TestFixture::Ops;
  const auto first = [this](typename TypeParam::template Vector<std::int32_t> infos) {
    Cell<TypeParam, std::int32_t> out(-1);
    Backend::first_failure(this->queue(), infos.data(), static_cast<int>(infos.size()), out.get());
    this->queue().synchronize();
    return *out;
  };
  EXPECT_EQ(first({}), 0);
  EXPECT_EQ(first({0, 0, 0}), 0);
  EXPECT_EQ(first({0, 9, 4, 0, 7}), 4);
  EXPECT_EQ(first({3}), 3);
}

TYPED_TEST(BackendScalars, TotalAndRoundTo) {
  using Backend = typename TestFixture::Ops;
  const typename TypeParam::template Vector<double> sums = {1, 0.5, -3};
  Cell<TypeParam, double> total(99), rounded(0);
  Cell<TypeParam, float> narrow(0);
  Backend::total(this->queue(), sums.data(), 3, total.get());
  Backend::round_to(this->queue(), total.get(), rounded.get());
  Backend::round_to(this->queue(), total.get(), narrow.get());
  this->queue().synchronize();
  EXPECT_EQ(*total, -1.5);
  EXPECT_EQ(*rounded, -1.5);
  EXPECT_EQ(*narrow, -1.5F);
  Backend::total(this->queue(), sums.data(), 0, total.get());
  this->queue().synchronize();
  EXPECT_EQ(*total, 0);
}

TYPED_TEST(BackendScalars, IntegersMoveToo) {
  using Backend = typename TestFixture::Ops;
  typename TypeParam::template Vector<std::int32_t> from = {1, 2, 3}, to = {0, 0, 0};
  Backend::template copy<std::int32_t>(this->queue(), {from.data(), 3, 1, 3}, {to.data(), 3, 1, 3});
  Backend::template fill<std::int32_t>(this->queue(), 7, {to.data() + 1, 1, 1, 1});
  Backend::template fill<std::int32_t>(this->queue(), 9, {});
  this->queue().synchronize();
  EXPECT_EQ(to, (typename TypeParam::template Vector<std::int32_t>{1, 7, 3}));
}

TYPED_TEST(BackendScalars, WhatTheHostSendsComesBack) {
  using Backend = typename TestFixture::Ops;
  typename TypeParam::template Vector<double> there(4, 7);
  Backend::upload(this->queue(), std::vector<double>{1, 2}, there.data() + 1);
  Backend::upload(this->queue(), std::vector<double>(), there.data());
  std::vector<double> here(4);
  Backend::download(this->queue(), there.data(), 4, here.data());
  Backend::download(this->queue(), there.data(), 0, static_cast<double*>(nullptr));
  this->queue().synchronize();
  EXPECT_EQ(here, (std::vector<double>{7, 1, 2, 7}));

  Cell<TypeParam, std::int32_t> info(0);
  std::int32_t outcome = 0;
  Backend::upload(this->queue(), std::vector<std::int32_t>{5}, info.get());
  Backend::download(this->queue(), info.get(), 1, &outcome);
  this->queue().synchronize();
  EXPECT_EQ(outcome, 5);
}

}  // namespace
}  // namespace jaxmg::testing
