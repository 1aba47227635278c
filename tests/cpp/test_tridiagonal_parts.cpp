// Parts of the divide and conquer: secular equations, deflation, blocks, and who does what.
#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include <gtest/gtest.h>

#include "algorithms/eigen/tridiagonal/blocks.hpp"
#include "algorithms/eigen/tridiagonal/deflation.hpp"
#include "algorithms/eigen/tridiagonal/row_blocks.hpp"
#include "device/secular.hpp"
#include "tridiagonals.hpp"

namespace {

using jaxmg::index_t;
using namespace jaxmg::testing::tridiagonal;

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
