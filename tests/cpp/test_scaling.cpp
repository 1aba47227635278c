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
TYPED_TEST_SUITE(Scaling, jaxmg::testing::OnCpu, jaxmg::testing::KindNames);

TYPED_TEST(Scaling, FindsTheLargestPart) {
  using T = typename TypeParam::type;
  HostMatrix<T> A(3, 2);
  EXPECT_EQ(this->largest(A.view()), 0);
  EXPECT_EQ(this->largest(A.view().column_range(0, 0)), 0);
  A(2, 1) = T(-5);
  A(0, 0) = T(2);
  EXPECT_EQ(this->largest(A.view()), 5);
  if constexpr (jaxmg::is_complex_v<T>) {
    A(1, 0) = T(1, -7);
    EXPECT_EQ(this->largest(A.view()), 7);
  }
  A(0, 1) = quiet_nan<T>();
  EXPECT_TRUE(std::isnan(this->largest(A.view())));
}

TYPED_TEST(Scaling, ByTheLargestOfAllThereAndBack) {
  using T = typename TypeParam::type;
  using R = real_t<T>;
  using Ops = typename TypeParam::Kind::Backend;
  typename TypeParam::Kind::template Vector<double> all = {3, 0, 20};
  HostMatrix<T> A(2, 2);
  HostMatrix<R> w(2, 1);
  A(1, 0) = T(20);
  w(1, 0) = R(0.5);
  const auto scale = [&] {
    this->run([&](auto& queue) {
      Ops::template scale_to_one<T>(queue, all.data(), 3, A.view());
      Ops::template scale_from_one<R>(queue, all.data(), 3, w.view());
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
