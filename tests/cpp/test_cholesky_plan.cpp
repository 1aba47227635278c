#include <algorithm>
#include <vector>

#include <gtest/gtest.h>

#include "api/cholesky_plan.hpp"
#include "device/cpu/backend.hpp"

namespace jaxmg {
namespace {

using Backend = cpu::Backend;

template <class T>
class CholeskyPlan : public ::testing::Test {};
using Scalars = ::testing::Types<float, double, std::complex<float>, std::complex<double>>;
TYPED_TEST_SUITE(CholeskyPlan, Scalars);

struct Range {
  const std::byte* begin;
  const std::byte* end;
};

/// The parts of a workspace that hold anything, by address.
template <class T>
std::vector<Range> ranges(const CholeskyWorkspace<T>& work, int ranks) {
  std::vector<Range> all;
  const auto add = [&all]<class U>(const U* data, index_t count) {
    const auto* begin = reinterpret_cast<const std::byte*>(data);
    if (count > 0) all.push_back({begin, begin + static_cast<std::size_t>(count) * sizeof(U)});
  };
  for (const MatrixView<T>& view :
       {work.matrix, work.panels[0], work.panels[1], work.substitution.lower,
        work.substitution.inverses, work.substitution.solution, work.solve.inverses,
        work.solve.rows, work.U}) {
    add(view.data, view.ld * view.cols);
  }
  add(work.scalars.info, 1);
  add(work.scalars.infos, ranks);
  add(work.scalars.share, 1);
  add(work.scalars.shares, ranks);
  add(work.scalars.logdet, 1);
  std::sort(all.begin(), all.end(), [](Range a, Range b) { return a.begin < b.begin; });
  return all;
}

constexpr BackendTraits all_traits[] = {{PanelMethod::trsm, false},
                                        {PanelMethod::trsm, true},
                                        {PanelMethod::block_substitution, false},
                                        {PanelMethod::block_substitution, true}};

TYPED_TEST(CholeskyPlan, WorkspaceIsDisjointAndWithinWhatWasAskedFor) {
  using T = TypeParam;
  using Workspace = CholeskyWorkspace<T>;
  for (const int ranks : {1, 2, 3, 8}) {
    for (const index_t local : {0, 1, 5, 40}) {
      for (const index_t tile : {1, 5, 64}) {
        for (const bool in_place : {false, true}) {
          for (const BackendTraits traits : all_traits) {
            const index_t columns = ranks * local;
            const CholeskyProblem problem{
                columns, std::max<index_t>(columns - 2, 0), ranks, tile, 3, in_place};
            const std::size_t bytes = Workspace::bytes(problem, traits);
            std::vector<std::byte> block(bytes + 1);
            Arena arena(block.data() + 1);  // XLA promises no alignment of ours
            const Workspace work = Workspace::carve(arena, problem, traits);
            const std::vector<Range> all = ranges<T>(work, ranks);
            ASSERT_GE(all.front().begin, block.data() + 1);
            ASSERT_LE(all.back().end, block.data() + block.size());
            for (std::size_t i = 1; i < all.size(); ++i) ASSERT_LE(all[i - 1].end, all[i].begin);
            if (work.staging.empty()) continue;
            // Shares its room with what is used after the redistribution, not with the scalars.
            const auto* staging = reinterpret_cast<const std::byte*>(work.staging.data);
            const auto* scalars_end = reinterpret_cast<const std::byte*>(work.scalars.logdet + 1);
            ASSERT_GE(staging, scalars_end);
            ASSERT_LE(
                staging + static_cast<std::size_t>(work.staging.ld * work.staging.cols) * sizeof(T),
                block.data() + block.size());
          }
        }
      }
    }
  }
}

TYPED_TEST(CholeskyPlan, WorkspaceHasWhatTheFormOfTheCallNeeds) {
  using T = TypeParam;
  const auto carve = [](const CholeskyProblem& problem, bool direct) {
    Arena arena;
    return CholeskyWorkspace<T>::carve(arena, problem, {PanelMethod::trsm, direct});
  };
  const auto copied = carve({48, 47, 4, 5, 2, false}, false);
  EXPECT_EQ(copied.matrix.rows, 48);
  EXPECT_EQ(copied.matrix.cols, 12);
  EXPECT_GE(copied.matrix.ld, 48);
  EXPECT_EQ(copied.matrix.ld * static_cast<index_t>(sizeof(T)) % 128, 0);
  EXPECT_TRUE(copied.staging.empty());
  EXPECT_EQ(copied.panels[1].cols, 5);
  EXPECT_EQ(copied.U.rows, 2);
  EXPECT_EQ(copied.U.cols, 47);

  const auto donated = carve({48, 47, 4, 5, 2, true}, true);
  EXPECT_TRUE(donated.matrix.empty());
  EXPECT_EQ(donated.staging.rows, 48);
  EXPECT_GE(donated.staging.cols, staging_columns(BlockCyclic(48, 4, 5)));
  EXPECT_TRUE(donated.panels[0].empty()) << "peers are read where they are";
}

TEST(CholeskyProblem, ValidatesItsSizes) {
  EXPECT_NO_THROW(validate({48, 47, 4, 5, 0, false}));
  EXPECT_NO_THROW(validate({0, 0, 4, 5, 0, false}));
  EXPECT_THROW(validate({48, 47, 4, 5, -1, false}), InvalidArgument);
  EXPECT_THROW(validate({48, 49, 4, 5, 0, false}), InvalidArgument);
  EXPECT_THROW(validate({47, 47, 4, 5, 0, false}), InvalidArgument);
  EXPECT_THROW(validate({48, 47, 0, 5, 0, false}), InvalidArgument);
  EXPECT_THROW(validate({48, 47, 4, -1, 0, false}), InvalidArgument);
}

TEST(PlannedCholesky, HonoursAGivenTile) {
  for (const Platform platform : {Platform::cpu, Platform::cuda}) {
    const auto plan = planned({48, 47, 4, 5, 1, false}, platform, DType::f64);
    EXPECT_EQ(plan.tile, 5);
    EXPECT_FALSE(plan.on_one_rank);
    EXPECT_EQ(planned({48, 47, 4, 500, 1, false}, platform, DType::f64).tile, 12);
  }
}

TEST(PlannedCholesky, KeepsSmallProblemsOnOneRank) {
  for (const Platform platform : {Platform::cpu, Platform::cuda}) {
    EXPECT_TRUE(planned({48, 47, 4, 0, 1, false}, platform, DType::f64).on_one_rank);
    EXPECT_FALSE(planned({65536, 65536, 4, 0, 1, false}, platform, DType::f64).on_one_rank);
  }
}

TEST(PlannedCholesky, SharesOutOnCpusWhatOneGpuDoesAlone) {
  const CholeskyProblem problem{2048, 2048, 4, 0, 1, false};
  EXPECT_FALSE(planned(problem, Platform::cpu, DType::f64).on_one_rank);
  EXPECT_FALSE(planned(problem, Platform::cpu_processes, DType::f64).on_one_rank);
  EXPECT_TRUE(planned(problem, Platform::cuda, DType::f64).on_one_rank);
}

TEST(PlannedCholesky, LeavesSolutionsOfALoneGpuToCusolver) {
  const auto is_whole = [](int ranks, index_t rhs) {
    const CholeskyProblem problem{16384, 16384, ranks, 0, rhs, true};
    return planned(problem, Platform::cuda, DType::f64).on_one_rank;
  };
  EXPECT_TRUE(is_whole(1, 1));
  EXPECT_FALSE(is_whole(2, 1));
  EXPECT_FALSE(is_whole(1, 0)) << "an inverse";
  const CholeskyProblem lone{16384, 16384, 1, 1024, 1, true, true};
  EXPECT_LT(CholeskyWorkspace<double>::bytes(lone, traits_of(Platform::cuda)),
            std::size_t{16384} * 8);
}

TEST(PlannedCholesky, HasATileOfAtLeastOneAndNoSliver) {
  for (const DType dtype : {DType::f32, DType::f64, DType::c64, DType::c128}) {
    for (const int ranks : {1, 2, 7, 8}) {
      for (const index_t local : {0, 1, 31, 33, 255, 257, 1000, 4096}) {
        const CholeskyProblem problem{local * ranks, local * ranks, ranks, 0, 1, false};
        const index_t tile = planned(problem, Platform::cpu, dtype).tile;
        ASSERT_GE(tile, 1);
        ASSERT_LE(tile, 256);
        if (local > tile) {
          const index_t last = local % tile;
          EXPECT_TRUE(last == 0 || last >= tile / 2) << local << " columns a rank, tile " << tile;
        }
      }
    }
  }
}

}  // namespace
}  // namespace jaxmg
