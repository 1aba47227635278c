// What the public functions run on: memory and rank threads of either kind of device.
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "kinds.hpp"

namespace jaxmg {
namespace {

using testing::KindNames;
using testing::KindTest;
using testing::Setting;

template <class Kind>
class Engines : public KindTest<Kind> {};
TYPED_TEST_SUITE(Engines, testing::Devices, KindNames);

TYPED_TEST(Engines, GiveZeroedMemoryThatRanksCanUse) {
  with_engine(TypeParam::team({3, 1, true}), []<class Engine>(const Engine& engine) {
    using B = typename Engine::Backend;
    std::vector<std::shared_ptr<double>> memory;
    for (int p = 0; p < engine.size(); ++p) {
      memory.push_back(engine.template allocate<double>(p, 100));
      engine.check_memory(p, memory.back().get());
    }
    std::vector<std::vector<double>> before(3, std::vector<double>(100, 7)), after = before;
    engine.run([&](Rank<B>& rank) {
      const auto p = static_cast<std::size_t>(rank.index());
      const MatrixView<double> mine(memory[p].get(), 10, 10, 10);
      B::template copy<double>(rank.panel(), mine, {before[p].data(), 10, 10, 10});
      B::template fill<double>(rank.panel(), rank.index(), mine.block(2, 2, 3, 3));
      B::template copy<double>(rank.panel(), mine, {after[p].data(), 10, 10, 10});
    });
    for (std::size_t p = 0; p < 3; ++p) {
      EXPECT_EQ(before[p], std::vector<double>(100, 0));
      EXPECT_EQ(after[p][22], static_cast<double>(p));
      EXPECT_EQ(after[p][21], 0);
    }
  });
}

TYPED_TEST(Engines, TellTheRankThatFailedAndRunTheNextCall) {
  with_engine(TypeParam::team({4, 1, true}), []<class Engine>(const Engine& engine) {
    using B = typename Engine::Backend;
    for (int round = 0; round < 3; ++round) {
      try {
        engine.run([](Rank<B>& rank) {
          if (rank.index() == 2) throw InvalidArgument("of rank 2");
          rank.barrier(rank.panel());
        });
        FAIL() << "no failure";
      } catch (const TeamError& error) {
        EXPECT_EQ(error.rank(), 2);
        EXPECT_STREQ(error.what(), "rank 2 of 4 failed: of rank 2");
      }
      engine.run([](Rank<B>& rank) { rank.barrier(rank.panel()); });
    }
  });
}

TYPED_TEST(Engines, CarveAWorkspaceForEachRank) {
  with_engine(TypeParam::team({3, 1, true}), []<class Engine>(const Engine& engine) {
    using B = typename Engine::Backend;
    std::vector<double> got(3, -1);
    run_with_workspace(
        engine, [](Arena& arena) { return arena.take_matrix<double>(50, 2); },
        [&](Rank<B>& rank, MatrixView<double> mine) {
          auto& panel = rank.panel();
          B::template fill<double>(panel, 10 + rank.index(), mine);
          rank.barrier(panel);
          B::template copy<double>(panel, mine.block(49, 1, 1, 1),
                                   {&got[static_cast<std::size_t>(rank.index())], 1, 1, 1});
        });
    EXPECT_EQ(got, (std::vector<double>{10, 11, 12}));
  });
}

#ifdef JAXMG_WITH_CUDA
/// Without any GPU every rank is such a rank.
TEST(CudaEngine, TellsARankWithoutItsDevice) {
  const CudaEngine engine(CudaRanks{{0, 999}, {}});
  for (int round = 0; round < 2; ++round) {
    EXPECT_THROW(engine.run([](Rank<cuda::Backend>& rank) { rank.barrier(rank.panel()); }),
                 TeamError);
  }
}
#endif

}  // namespace
}  // namespace jaxmg
