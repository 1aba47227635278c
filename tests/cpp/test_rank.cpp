#include <numeric>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "device/cpu/backend.hpp"
#include "team/jobs.hpp"
#include "team/rank.hpp"

namespace jaxmg {
namespace {

using Backend = cpu::Backend;
using CpuRank = Rank<Backend>;

struct Team {
  int ranks;
  bool reads_peers_directly;

  std::size_t count() const { return static_cast<std::size_t>(ranks); }
  void run(const RankProgram<Backend>& program) const {
    TeamOptions options;
    options.reads_peers_directly = reads_peers_directly;
    run_team(ranks, program, options);
  }
};

/// Every team, under random scheduling.
class RankOfTeam : public ::testing::Test {
 protected:
  void SetUp() override { cpu::set_chaos({11, 50}); }
  void TearDown() override { cpu::set_chaos({}); }

  template <class Check>
  static void on_every_team(Check check) {
    for (const int ranks : {1, 2, 3, 4, 7, 8}) {
      for (const bool direct : {true, false}) {
        SCOPED_TRACE(std::to_string(ranks) + (direct ? " ranks" : " ranks that pull"));
        check(Team{ranks, direct});
      }
    }
  }
};

TEST_F(RankOfTeam, Broadcast) {
  on_every_team([](const Team& team) {
    constexpr index_t rows = 5, cols = 3, ld = 8, rounds = 20;
    using Storage = std::vector<float>;
    const Storage empty(ld * cols);
    std::vector<Storage> mine(team.count(), empty), staging(team.count(), empty),
        sum(team.count(), empty);
    team.run([&](CpuRank& rank) {
      const auto view = [&](std::vector<Storage>& of) {
        return MatrixView<float>(of[static_cast<std::size_t>(rank.index())].data(), rows, cols, ld);
      };
      cpu::Event read;
      for (int round = 0; round < rounds; ++round) {
        const int owner = round % rank.size();
        rank.barrier(rank.panel());
        if (owner == rank.index()) {
          Backend::fill<float>(rank.panel(), static_cast<float>(round + 1), view(mine));
        }
        rank.copies().wait(read);
        const auto got = rank.broadcast<float>(owner, rank.panel(), view(mine), view(staging));
        const bool in_place = owner == rank.index() || rank.reads_peers_directly();
        const auto holder = in_place ? owner : rank.index();
        EXPECT_EQ(got.view.data,
                  (in_place ? mine : staging)[static_cast<std::size_t>(holder)].data());
        rank.bulk().wait(got.ready);
        Backend::add<float>(rank.bulk(), got.view, view(sum));
        read = rank.bulk().record();
        rank.panel().wait(read);  // so that no owner writes before all have read
      }
    });
    for (Storage& of : sum) {
      for (index_t j = 0; j < cols; ++j) {
        for (index_t i = 0; i < ld; ++i) {
          const float expected = i < rows ? rounds * (rounds + 1) / 2 : 0;
          EXPECT_EQ(of[static_cast<std::size_t>(i + j * ld)], expected);
        }
      }
    }
  });
}

TEST_F(RankOfTeam, AllGather) {
  on_every_team([](const Team& team) {
    std::vector<double> mine(team.count());
    std::vector<std::vector<double>> gathered(team.count(), mine);
    team.run([&](CpuRank& rank) {
      const auto r = static_cast<std::size_t>(rank.index());
      Backend::fill<double>(rank.panel(), 10 + rank.index(), {&mine[r], 1, 1, 1});
      rank.all_gather(rank.panel(), &mine[r], gathered[r].data());
    });
    std::vector<double> expected(team.count());
    std::iota(expected.begin(), expected.end(), 10);
    for (const auto& of_rank : gathered) EXPECT_EQ(of_rank, expected);
  });
}

TEST_F(RankOfTeam, AllReduceInfoIsTheSmallestFailure) {
  on_every_team([](const Team& team) {
    for (const bool fails : {false, true}) {
      std::vector<std::int32_t> info(team.count()), result(team.count(), -1);
      std::vector<std::vector<std::int32_t>> gathered(team.count(), info);
      team.run([&](CpuRank& rank) {
        const auto r = static_cast<std::size_t>(rank.index());
        // Rank 0 alone has none, unless it is alone.
        const std::int32_t own =
            fails && (r > 0 || rank.size() == 1) ? 50 - static_cast<std::int32_t>(r) : 0;
        Backend::fill<std::int32_t>(rank.panel(), own, {&info[r], 1, 1, 1});
        rank.all_reduce_info(rank.panel(), &info[r], gathered[r].data(), &result[r]);
      });
      for (const std::int32_t of_rank : result) EXPECT_EQ(of_rank, fails ? 51 - team.ranks : 0);
    }
  });
}

TEST_F(RankOfTeam, AllReduceSumIsTheSameToTheLastBit) {
  on_every_team([](const Team& team) {
    std::vector<double> value(team.count()), result(team.count());
    std::vector<std::vector<double>> gathered(team.count(), value);
    team.run([&](CpuRank& rank) {
      const auto r = static_cast<std::size_t>(rank.index());
      Backend::fill<double>(rank.bulk(), 1.0 / (3 + rank.index()), {&value[r], 1, 1, 1});
      rank.all_reduce_sum(rank.bulk(), &value[r], gathered[r].data(), &result[r]);
    });
    double expected = 0;
    for (int r = 0; r < team.ranks; ++r) expected += 1.0 / (3 + r);
    for (const double of_rank : result) EXPECT_EQ(of_rank, expected);
  });
}

TEST_F(RankOfTeam, BarrierComesAfterWhatAllRanksGave) {
  on_every_team([](const Team& team) {
    constexpr int rounds = 10;
    std::vector<int> counters(team.count(), 0);
    std::vector<std::vector<char>> complete(team.count(), std::vector<char>(rounds, 0));
    team.run([&](CpuRank& rank) {
      const auto r = static_cast<std::size_t>(rank.index());
      for (std::size_t round = 0; round < rounds; ++round) {
        rank.bulk().enqueue([&counters, r] { ++counters[r]; });
        rank.barrier(rank.bulk());
        rank.bulk().enqueue([&, r, round] {
          bool all = true;
          for (const int counter : counters) all = all && counter == static_cast<int>(round) + 1;
          complete[r][round] = all ? 1 : 0;
        });
        rank.barrier(rank.bulk());
      }
    });
    for (const auto& of_rank : complete) {
      for (const char all : of_rank) EXPECT_TRUE(all);
    }
  });
}

TEST_F(RankOfTeam, PostedDataMayBeTakenFromAnotherQueue) {
  on_every_team([](const Team& team) {
    std::vector<int> box(team.count(), 0);
    std::vector<int> got(team.count(), 0);
    team.run([&](CpuRank& rank) {
      const auto r = static_cast<std::size_t>(rank.index());
      const index_t tags = rank.reserve(2);
      EXPECT_EQ(rank.reserve(1), tags + 2);
      rank.panel().enqueue([&box, r] { box[r] = static_cast<int>(r) + 1; });
      rank.post(tags + 1, &box[r], rank.panel());
      const int next = (rank.index() + 1) % rank.size();
      const int* theirs = rank.take<int>(next, tags + 1, rank.bulk());
      rank.bulk().enqueue([&got, r, theirs] { got[r] = *theirs; });
    });
    for (int r = 0; r < team.ranks; ++r) {
      EXPECT_EQ(got[static_cast<std::size_t>(r)], (r + 1) % team.ranks + 1);
    }
  });
}

TEST(RankSynchronize, DrainsAllQueuesAndThrowsTheFirstError) {
  LocalTeamCall<Backend> team(1, {});
  cpu::set_permits(2);
  cpu::Device device;
  CpuRank rank(team, 0, device);
  bool done = false;
  rank.copies().enqueue([] { throw std::runtime_error("copies"); });
  rank.bulk().enqueue([&done] { done = true; });
  EXPECT_THROW(rank.synchronize(), std::runtime_error);
  EXPECT_TRUE(done);
  rank.synchronize();
}

}  // namespace
}  // namespace jaxmg
