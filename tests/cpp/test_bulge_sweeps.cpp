// Which reflectors there are, where they are kept, and in which order diamonds are applied.
#include <set>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "distribution/bulge_sweeps.hpp"

namespace {

using jaxmg::BulgeSweeps;
using jaxmg::DiamondWaves;
using jaxmg::index_t;

TEST(BulgeSweeps, AllSizesHaveTheirSweepsInOneChunkEach) {
  for (const index_t b : {1, 2, 3, 8, 100}) {
    for (const index_t n : {0, 1, 2, 3, 4, 8, 9, 17, 40}) {
      for (const index_t chunk : {1, 4, 7, 100}) {
        const BulgeSweeps sweeps(n, b, 3, chunk);
        const bool tridiagonal = b == 1 || n <= 2;
        EXPECT_EQ(sweeps.sweeps(), tridiagonal ? 0 : n - 2);
        index_t next = 0;
        for (index_t c = 0; c < sweeps.chunks(); ++c) {
          EXPECT_EQ(sweeps.first(c), next);
          EXPECT_GE(sweeps.sweeps(c), 1);
          EXPECT_LE(sweeps.columns(c), sweeps.most_columns());
          next += sweeps.sweeps(c);
        }
        EXPECT_EQ(next, sweeps.sweeps());
        for (index_t s = 0; s < sweeps.sweeps(); ++s) {
          // The last reflector has at least two rows, and one more level would have fewer.
          const index_t b_here = sweeps.bandwidth(), levels = sweeps.levels_of_sweep(s);
          EXPECT_LT(s + 1 + (levels - 1) * b_here, n - 1);
          EXPECT_GE(s + 1 + levels * b_here, n - 1);
        }
      }
    }
  }
}

TEST(BulgeSweeps, AHolderKeepsItsChunksOneAfterTheOther) {
  const BulgeSweeps sweeps(50, 4, 3, 5);
  std::vector<index_t> end(3, 0);
  for (index_t c = 0; c < sweeps.chunks(); ++c) {
    const int p = sweeps.holder(c);
    EXPECT_EQ(p, c % 3);
    EXPECT_EQ(sweeps.column_offset(c), end[static_cast<std::size_t>(p)]);
    end[static_cast<std::size_t>(p)] += sweeps.columns(c);
  }
  for (int p = 0; p < 3; ++p) {
    EXPECT_EQ(sweeps.columns_of_rank(p), end[static_cast<std::size_t>(p)]);
  }
}

TEST(BulgeSweeps, RefusesSizesThatMakeNoSense) {
  EXPECT_THROW(BulgeSweeps(-1, 2, 1, 1), jaxmg::InvalidArgument);
  EXPECT_THROW(BulgeSweeps(4, 0, 1, 1), jaxmg::InvalidArgument);
  EXPECT_THROW(BulgeSweeps(4, 2, 0, 1), jaxmg::InvalidArgument);
  EXPECT_THROW(BulgeSweeps(4, 2, 1, 0), jaxmg::InvalidArgument);
}

/// Each reflector once, those of overlapping rows in the order of sweeps from last to first, and no
/// two diamonds of a wave on one row.
TEST(DiamondWaves, ApplyOverlappingReflectorsFromTheLastSweepToTheFirst) {
  for (const index_t b : {2, 3, 5}) {
    for (const index_t group : {1, 2, 3, 5, 9}) {
      for (const index_t sweeps : {1, 4, 9, 10}) {
        for (const index_t levels : {1, 2, 6}) {
          SCOPED_TRACE(::testing::Message() << b << " " << group << " " << sweeps << " " << levels);
          const DiamondWaves waves(b, sweeps, levels, group);
          std::set<std::pair<index_t, index_t>> seen;
          std::vector<index_t> lowest(static_cast<std::size_t>(sweeps + levels * b), sweeps);
          for (index_t t = 0; t < waves.waves(); ++t) {
            ASSERT_LT(waves.first_group(t), waves.end_group(t));
            index_t free = 0;
            for (index_t G = waves.first_group(t); G < waves.end_group(t); ++G) {
              const index_t k = waves.level(t, G), row = waves.row(t, G);
              ASSERT_GE(k, 0);
              ASSERT_LT(k, levels);
              EXPECT_GE(row, free);
              EXPECT_EQ(row, waves.row(t, waves.first_group(t)) +
                                 (G - waves.first_group(t)) * waves.height());
              free = row + waves.height();
              for (index_t j = waves.sweeps_of_group(G) - 1; j >= 0; --j) {
                const index_t s = G * group + j;
                EXPECT_TRUE(seen.insert({s, k}).second);
                for (index_t i = s + k * b; i < s + (k + 1) * b; ++i) {
                  EXPECT_GT(lowest[static_cast<std::size_t>(i)], s);
                  lowest[static_cast<std::size_t>(i)] = s;
                }
              }
            }
          }
          EXPECT_EQ(seen.size(), static_cast<std::size_t>(sweeps * levels));
        }
      }
    }
  }
}

}  // namespace
