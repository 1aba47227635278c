#include <algorithm>
#include <atomic>
#include <latch>
#include <mutex>
#include <stdexcept>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "gate.hpp"
#include "team/jobs.hpp"

namespace jaxmg {
namespace {

using testing::Gate;
using CpuRank = Rank<cpu::Backend>;
using Program = RankProgram<cpu::Backend>;
using namespace std::chrono_literals;

constexpr int team_sizes[] = {1, 2, 3, 4, 7, 8};

TeamOptions silent_for(std::chrono::milliseconds silence) {
  TeamOptions options;
  options.silence = silence;
  return options;
}

/// Runs a job and gives what each rank's `done` was told, in words; "" for success.
std::vector<std::string> outcomes(int size, const Program& program,
                                  const TeamOptions& options = {}) {
  std::vector<std::string> told(static_cast<std::size_t>(size));
  std::latch all(size);
  std::vector<RankTask> ranks;
  for (std::string& mine : told) {
    ranks.push_back({program, [&mine, &all](const std::exception_ptr& failure) {
                       if (failure) mine = message_of(failure);
                       all.count_down();
                     }});
  }
  submit(std::move(ranks), options);
  all.wait();
  return told;
}

void expect_all(const std::vector<std::string>& told, const std::string& expected) {
  for (const std::string& message : told) EXPECT_EQ(message, expected);
}

/// What no job after a failed one may notice.
void expect_next_job_works(int size) {
  expect_all(outcomes(size, [](CpuRank& rank) { rank.barrier(rank.panel()); }), "");
}

TEST(Jobs, RunEveryRankOnceOnItsOwnThread) {
  for (const int size : team_sizes) {
    std::vector<std::thread::id> threads(static_cast<std::size_t>(size));
    std::latch together(size);
    const auto told = outcomes(size, [&](CpuRank& rank) {
      EXPECT_EQ(rank.size(), size);
      threads[static_cast<std::size_t>(rank.index())] = std::this_thread::get_id();
      together.arrive_and_wait();
    });
    expect_all(told, "");
    std::sort(threads.begin(), threads.end());
    EXPECT_EQ(std::unique(threads.begin(), threads.end()), threads.end());
  }
}

TEST(Jobs, ARankThatThrowsFailsAllWithOneMessage) {
  for (const int size : team_sizes) {
    const int culprit = size / 2;
    const auto told = outcomes(size, [&](CpuRank& rank) {
      if (rank.index() == culprit) throw std::runtime_error("no luck");
      for (int i = 0; i < 3; ++i) rank.barrier(rank.panel());
    });
    expect_all(told, "rank " + std::to_string(culprit) + " of " + std::to_string(size) +
                         " failed: no luck");
    expect_next_job_works(size);
  }
}

TEST(Jobs, ATaskThatThrowsFailsAllRanks) {
  for (const int size : team_sizes) {
    const int culprit = size - 1;
    const auto told = outcomes(size, [&](CpuRank& rank) {
      for (int i = 0; i < 5; ++i) {
        if (rank.index() == culprit && i == 2) {
          rank.bulk().enqueue([] { throw std::runtime_error("bad tile"); });
        }
        rank.barrier(rank.bulk());
      }
    });
    expect_all(told, "rank " + std::to_string(culprit) + " of " + std::to_string(size) +
                         " failed: bad tile");
    expect_next_job_works(size);
  }
}

TEST(Jobs, WhatIsNoStdExceptionFailsTheTeamToo) {
  expect_all(outcomes(2,
                      [](CpuRank& rank) {
                        if (rank.index() == 1) throw 3;
                        rank.barrier(rank.panel());
                      }),
             "rank 1 of 2 failed: unknown error");
}

TEST(Jobs, AFailedRankLeavesNobodyBeforeAllHaveDrained) {
  std::atomic<bool> drained{false};
  const auto told = outcomes(2, [&](CpuRank& rank) {
    if (rank.index() == 0) throw std::runtime_error("early");
    rank.bulk().enqueue([&drained] {
      std::this_thread::sleep_for(20ms);
      drained = true;
    });
  });
  EXPECT_TRUE(drained);
  expect_all(told, "rank 0 of 2 failed: early");
}

TEST(Jobs, ALateRankIsWaitedFor) {
  for (const int size : team_sizes) {
    const auto told = outcomes(size, [&](CpuRank& rank) {
      if (rank.index() == size - 1) std::this_thread::sleep_for(20ms);
      rank.barrier(rank.panel());
    });
    expect_all(told, "");
  }
}

TEST(Jobs, ARankThatKeepsSilentTooLongFailsTheTeam) {
  const auto told = outcomes(
      3,
      [](CpuRank& rank) {
        if (rank.index() == 2) std::this_thread::sleep_for(400ms);
        rank.barrier(rank.panel());
      },
      silent_for(50ms));
  for (const std::string& message : told) {
    EXPECT_EQ(message, told[0]);
    EXPECT_NE(message.find("nothing came from rank 2 for 50 ms inside a call"), std::string::npos)
        << message;
  }
  expect_next_job_works(3);
}

TEST(Jobs, LongWorkIsNoSilence) {
  const auto told = outcomes(
      2,
      [](CpuRank& rank) {
        rank.panel().enqueue([] { std::this_thread::sleep_for(300ms); });
        rank.barrier(rank.panel());
      },
      silent_for(100ms));
  expect_all(told, "");
}

TEST(Jobs, AHostThatWaitsForItsDeviceIsNotSilent) {
  const auto told = outcomes(
      2,
      [](CpuRank& rank) {
        if (rank.index() == 0) {
          rank.bulk().enqueue([] { std::this_thread::sleep_for(400ms); });
          rank.bulk().synchronize();
        }
        rank.barrier(rank.panel());
      },
      silent_for(100ms));
  expect_all(told, "");
}

TEST(Jobs, RunTeamThrowsWhatFailed) {
  try {
    run_team(4,
             [](CpuRank& rank) {
               if (rank.index() == 3) throw std::runtime_error("why");
             },
             {});
    FAIL() << "nothing was thrown";
  } catch (const TeamError& error) {
    EXPECT_EQ(error.rank(), 3);
    EXPECT_STREQ(error.what(), "rank 3 of 4 failed: why");
  }
}

TEST(Jobs, AtMostTwoRunAtOnceFirstComeFirstServed) {
  constexpr int jobs = 12;
  std::atomic<int> running{0}, most{0};
  std::mutex mutex;
  std::vector<int> order;
  Gate first_may_end, others_may_end;
  std::latch two_run(2), all(jobs);
  for (int job = 0; job < jobs; ++job) {
    const Program program = [&, job](CpuRank&) {
      const int now = ++running;
      for (int seen = most; seen < now && !most.compare_exchange_weak(seen, now);) {
      }
      {
        const std::lock_guard lock(mutex);
        order.push_back(job);
      }
      if (job < 2) two_run.count_down();
      (job == 0 ? first_may_end : others_may_end).pass();
      --running;
    };
    submit({{program, [&all](const std::exception_ptr&) { all.count_down(); }}}, {});
  }
  two_run.wait();
  EXPECT_EQ(running, 2);
  others_may_end.open();  // the first keeps its place, so that the rest run one by one
  const auto all_have_run = [&] {
    const std::lock_guard lock(mutex);
    return order.size() == jobs;
  };
  while (!all_have_run()) std::this_thread::sleep_for(1ms);
  first_may_end.open();
  all.wait();
  EXPECT_EQ(most, 2);
  std::sort(order.begin(), order.begin() + 2);
  EXPECT_TRUE(std::is_sorted(order.begin(), order.end()));
}

TEST(Jobs, DoneMayRunFurtherJobsAndWaitForThem) {
  constexpr int jobs = 6, size = 3;
  std::latch all(jobs * size);
  std::atomic<int> nested{0};
  for (int job = 0; job < jobs; ++job) {
    std::vector<RankTask> ranks(size);
    for (RankTask& rank : ranks) {
      rank.program = [](CpuRank& r) { r.barrier(r.panel()); };
      rank.done = [&](const std::exception_ptr&) {
        run_team(2,
                 [&nested](CpuRank& r) {
                   ++nested;
                   r.barrier(r.bulk());
                 },
                 {});
        all.count_down();
      };
    }
    submit(std::move(ranks), {});
  }
  all.wait();
  EXPECT_EQ(nested, 2 * jobs * size);
}

TEST(Jobs, DonesOfOneJobMayWaitForEachOther) {
  constexpr int size = 4;
  std::latch together(size), all(size);
  std::vector<RankTask> ranks(size);
  for (RankTask& rank : ranks) {
    rank.program = [](CpuRank&) {};
    rank.done = [&](const std::exception_ptr&) {
      together.arrive_and_wait();
      all.count_down();
    };
  }
  submit(std::move(ranks), {});
  all.wait();
}

TEST(Jobs, ManyFromSeveralThreads) {
  std::vector<std::thread> threads;
  for (int t = 0; t < 6; ++t) {
    threads.emplace_back([t] {
      for (int i = 0; i < 20; ++i) {
        const int size = team_sizes[static_cast<std::size_t>((i + t) % 6)];
        const bool fails = i % 5 == 4;
        const auto told = outcomes(size, [&](CpuRank& rank) {
          if (fails && rank.index() == 0) throw std::runtime_error(std::to_string(t));
          rank.barrier(rank.panel());
          rank.barrier(rank.bulk());
        });
        expect_all(told, fails
                             ? "rank 0 of " + std::to_string(size) + " failed: " + std::to_string(t)
                             : "");
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace
}  // namespace jaxmg
