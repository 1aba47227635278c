// Scaling by powers of two: the backend's operations.
#include <cmath>
#include <limits>

#include <gtest/gtest.h>

#include "kinds.hpp"
#include "testing/matrices.hpp"

namespace {

using jaxmg::index_t;
using jaxmg::MatrixView;
using jaxmg::real_t;
using namespace jaxmg_testing;

template <class P>
class Scaling : public jaxmg::testing::KindTest<typename P::Kind> {
 protected:
  using Value = typename P::type;
  using Backend = typename P::Kind::Backend;

  void SetUp() override {
    jaxmg::testing::KindTest<typename P::Kind>::SetUp();
    jaxmg::cpu::set_permits(2);
  }

  /// largest_part() of a matrix.
  double largest(MatrixView<const Value> A) {
    typename P::Kind::template Vector<double> result(1, -1);
    run([&](auto& queue) { Backend::template largest_part<Value>(queue, A, result.data()); });
    return result[0];
  }
  template <class Work>
  void run(const Work& work) {
    const auto device = P::Kind::device();
    typename Backend::Queue queue(*device, jaxmg::Priority::normal);
    work(queue);
    queue.synchronize();
  }
};
TYPED_TEST_SUITE(Scaling, jaxmg::testing::OnAllKinds, jaxmg::testing::KindNames);

TYPED_TEST(Scaling, FindsTheLargestPart) {
  using T = typename TypeParam::type;
  jaxmg::testing::Shared<typename TypeParam::Kind, T> storage(3, 2);
  const MatrixView<T> A = storage.view();
  EXPECT_EQ(this->largest(A), 0);
  EXPECT_EQ(this->largest(A.column_range(0, 0)), 0);
  A(2, 1) = T(-5);
  A(0, 0) = T(2);
  EXPECT_EQ(this->largest(A), 5);
  if constexpr (jaxmg::is_complex_v<T>) {
    A(1, 0) = T(1, -7);
    EXPECT_EQ(this->largest(A), 7);
  }
  A(0, 1) = quiet_nan<T>();
  EXPECT_TRUE(std::isnan(this->largest(A)));
}

/// More than a grid has threads for, in a window.
TYPED_TEST(Scaling, OfAWindow) {
  using T = typename TypeParam::type;
  using Ops = typename TypeParam::Kind::Backend;
  jaxmg::testing::Shared<typename TypeParam::Kind, T> storage(600, 21);
  const MatrixView<T> A = storage.view(), window = A.block(3, 2, 590, 17);
  std::fill_n(A.data, 600 * 21, T(1));
  window(589, 16) = T(6);
  A(0, 0) = A(599, 20) = T(100);
  EXPECT_EQ(this->largest(window), 6);
  typename TypeParam::Kind::template Vector<double> all = {6};
  this->run([&](auto& queue) { Ops::template scale_to_one<T>(queue, all.data(), 1, window); });
  for (index_t j = 0; j < 21; ++j) {
    for (index_t i = 0; i < 600; ++i) {
      const bool inside = i >= 3 && i < 593 && j >= 2 && j < 19;
      const bool corner = (i == 0 && j == 0) || (i == 599 && j == 20);
      const real_t<T> expected = corner ? 100 : inside ? (i == 592 && j == 18 ? 0.75 : 0.125) : 1;
      EXPECT_EQ(A(i, j), T(expected));
    }
  }
}

TYPED_TEST(Scaling, ByTheLargestOfAllThereAndBack) {
  using T = typename TypeParam::type;
  using R = real_t<T>;
  using Ops = typename TypeParam::Kind::Backend;
  typename TypeParam::Kind::template Vector<double> all = {3, 0, 20};
  jaxmg::testing::Shared<typename TypeParam::Kind, T> matrix(2, 2);
  jaxmg::testing::Shared<typename TypeParam::Kind, R> values(2, 1);
  const MatrixView<T> A = matrix.view();
  const MatrixView<R> w = values.view();
  A(1, 0) = T(20);
  w(1, 0) = R(0.5);
  const auto scale = [&] {
    this->run([&](auto& queue) {
      Ops::template scale_to_one<T>(queue, all.data(), 3, A);
      Ops::template scale_from_one<R>(queue, all.data(), 3, w);
    });
  };
  scale();
  EXPECT_EQ(A(1, 0), T(R(0.625)));
  EXPECT_EQ(w(1, 0), R(16));
  all[1] = quiet_nan<double>();
  scale();
  EXPECT_EQ(A(1, 0), T(R(0.625)));
  all = {0, 0, 0};
  scale();
  EXPECT_EQ(w(1, 0), R(16));
}

}  // namespace
