#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <fstream>
#include <mutex>
#include <random>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "team/rendezvous.hpp"

namespace jaxmg {
namespace {

using Program = RankProgram<cpu::Backend>;
using CpuRank = Rank<cpu::Backend>;
using Clock = std::chrono::steady_clock;
using namespace std::chrono_literals;

/// What the `done`s of many arrivals were told; they may outlive the test.
class Outcomes {
 public:
  std::function<void(const std::exception_ptr&)> listener() const {
    return [state = state_](const std::exception_ptr& failure) {
      const std::lock_guard lock(state->mutex);
      state->told.push_back(failure ? message_of(failure) : "");
      state->changed.notify_all();
    };
  }
  std::vector<std::string> wait_for(std::size_t count) const {
    std::unique_lock lock(state_->mutex);
    state_->changed.wait(lock, [&] { return state_->told.size() >= count; });
    return state_->told;
  }
  std::size_t count() const {
    const std::lock_guard lock(state_->mutex);
    return state_->told.size();
  }

 private:
  struct State {
    std::mutex mutex;
    std::condition_variable changed;
    std::vector<std::string> told;
  };
  std::shared_ptr<State> state_ = std::make_shared<State>();
};

void expect_all(const std::vector<std::string>& told, const std::string& expected) {
  for (const std::string& message : told) EXPECT_EQ(message, expected);
}

class Rendezvous : public ::testing::Test {
 protected:
  void SetUp() override { unsetenv("JAXMG_TIMEOUT"); }
  void TearDown() override { unsetenv("JAXMG_TIMEOUT"); }

  /// A key that nobody else has.
  static CallKey new_call() {
    static std::atomic<std::int64_t> run{0};
    return {++run, 0x1000, 0};
  }

  static void come(
      const CallKey& key, int rank, int size, const Outcomes& outcomes,
      Program program = [](CpuRank&) {}, const std::string& call = "potrs") {
    arrive(key,
           Arrival<RankTask>{rank, size, call, {std::move(program), outcomes.listener()}, nullptr});
  }
  static void bring_failure(const CallKey& key, int rank, int size, const Outcomes& outcomes,
                            const std::string& call = "potrs") {
    const auto cause = std::make_exception_ptr(std::runtime_error("no workspace"));
    arrive(key, Arrival<RankTask>{rank, size, call, {[](CpuRank&) {}, outcomes.listener()}, cause});
  }
};

/// Checks in a job that all its ranks came for the same `visit`.
class SameVisit {
 public:
  explicit SameVisit(int visit) : visit_(std::make_shared<std::int32_t>(visit)) {}

  void operator()(CpuRank& rank) const {
    const auto gathered = std::make_shared<std::vector<std::int32_t>>(rank.size(), -1);
    auto& queue = rank.panel();
    rank.all_gather(queue, visit_.get(), gathered->data());
    queue.enqueue([gathered, mine = visit_] {
      for (const std::int32_t theirs : *gathered) {
        if (theirs != *mine) throw std::runtime_error("ranks of different visits met");
      }
    });
  }

 private:
  std::shared_ptr<std::int32_t> visit_;
};

TEST_F(Rendezvous, RanksComeInAnyOrderFromManyThreads) {
  std::mt19937 random(5);
  for (const int size : {1, 2, 3, 8}) {
    const CallKey key = new_call();
    const Outcomes outcomes;
    std::vector<int> order(static_cast<std::size_t>(size));
    for (int r = 0; r < size; ++r) order[static_cast<std::size_t>(r)] = r;
    std::shuffle(order.begin(), order.end(), random);
    std::vector<std::thread> threads;
    std::vector<std::atomic<int>> ran(static_cast<std::size_t>(size));
    for (const int r : order) {
      threads.emplace_back([&, r] {
        come(key, r, size, outcomes, [&ran, r](CpuRank& rank) {
          EXPECT_EQ(rank.index(), r);
          ++ran[static_cast<std::size_t>(r)];
        });
      });
    }
    for (std::thread& thread : threads) thread.join();
    expect_all(outcomes.wait_for(static_cast<std::size_t>(size)), "");
    for (const auto& times : ran) EXPECT_EQ(times, 1);
  }
}

TEST_F(Rendezvous, ArrivingDoesNotBlock) {
  const CallKey key = new_call();
  const Outcomes outcomes;
  for (int r = 0; r < 4; ++r)
    come(key, r, 4, outcomes, [](CpuRank& rank) { rank.barrier(rank.panel()); });
  expect_all(outcomes.wait_for(4), "");
}

TEST_F(Rendezvous, ALoopsVisitsAreToldApartHoweverFarARankRunsAhead) {
  constexpr int visits = 60, size = 4;
  const CallKey key = new_call();
  const Outcomes outcomes;
  std::vector<std::thread> threads;
  for (int r = 0; r < size; ++r) {
    threads.emplace_back([&, r] {
      for (int visit = 0; visit < visits; ++visit) {
        come(key, r, size, outcomes, SameVisit(visit));
        if (r % 2 == 1) std::this_thread::sleep_for(100us);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  expect_all(outcomes.wait_for(visits * size), "");
}

TEST_F(Rendezvous, ARankMayComeForAllVisitsBeforeTheOthersCome) {
  constexpr int visits = 30;
  const CallKey key = new_call();
  const Outcomes outcomes;
  for (const int r : {2, 0, 1}) {
    for (int visit = 0; visit < visits; ++visit) come(key, r, 3, outcomes, SameVisit(visit));
  }
  expect_all(outcomes.wait_for(3 * visits), "");
}

TEST_F(Rendezvous, GroupsRunsAndCallSitesDoNotMix) {
  constexpr int size = 3, visits = 10;
  const CallKey run = new_call(), other_run = new_call();
  const std::vector<CallKey> keys = {run,
                                     {run.run, run.instance, 1},
                                     {run.run, run.instance + 8, 0},
                                     other_run,
                                     {other_run.run, other_run.instance, 1}};
  const Outcomes outcomes;
  std::vector<std::thread> threads;
  for (int r = 0; r < size; ++r) {
    threads.emplace_back([&, r] {
      std::mt19937 random(static_cast<unsigned>(r));
      for (int visit = 0; visit < visits; ++visit) {
        std::vector<int> order = {0, 1, 2, 3, 4};
        std::shuffle(order.begin(), order.end(), random);
        for (const int k : order) {
          come(keys[static_cast<std::size_t>(k)], r, size, outcomes, SameVisit(100 * visit + k));
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  expect_all(outcomes.wait_for(5 * size * visits), "");
}

TEST_F(Rendezvous, RanksThatComeForDifferentCallsFailTogether) {
  const CallKey key = new_call();
  const Outcomes outcomes;
  const Program never = [](CpuRank&) { ADD_FAILURE() << "the job ran"; };
  come(key, 0, 3, outcomes, never, "potrs float32[8,8]");
  come(key, 2, 3, outcomes, never, "potrs float64[8,8]");
  const std::string message =
      "rank 2 of 3 failed: it came for potrs float64[8,8] on 3 ranks while others came for potrs "
      "float32[8,8] on 3 ranks";
  expect_all(outcomes.wait_for(2), message);
  come(key, 1, 3, outcomes, never, "potrs float32[8,8]");
  expect_all(outcomes.wait_for(3), message);

  for (int r = 0; r < 3; ++r) come(key, r, 3, outcomes);
  EXPECT_EQ(outcomes.wait_for(6).back(), "") << "the next call works";
}

TEST_F(Rendezvous, RanksThatDisagreeOnTheTeamsSizeFailTogether) {
  const CallKey key = new_call();
  const Outcomes outcomes;
  const Program never = [](CpuRank&) { ADD_FAILURE() << "the job ran"; };
  come(key, 0, 2, outcomes, never);
  come(key, 7, 8, outcomes, never);
  come(key, 1, 2, outcomes, never);
  expect_all(outcomes.wait_for(3),
             "rank 7 of 8 failed: it came for potrs on 8 ranks while others came for potrs on 2 "
             "ranks");
}

TEST_F(Rendezvous, ARankOfALargerTeamMayComeInALaterVisit) {
  const CallKey key = new_call();
  const Outcomes outcomes;
  come(key, 0, 2, outcomes);
  come(key, 0, 2, outcomes);
  come(key, 1, 2, outcomes);
  expect_all(outcomes.wait_for(2), "");  // one visit is over, one is open
  come(key, 3, 4, outcomes, [](CpuRank&) { ADD_FAILURE() << "the job ran"; });
  EXPECT_EQ(outcomes.wait_for(4).back(),
            "rank 3 of 4 failed: it came for potrs on 4 ranks while others came for potrs on 2 "
            "ranks");
}

TEST_F(Rendezvous, ARankThatBringsAFailureFailsAll) {
  for (const int culprit : {0, 1, 2}) {
    const CallKey key = new_call();
    const Outcomes outcomes;
    for (int r = 0; r < 3; ++r) {
      if (r == culprit) {
        bring_failure(key, r, 3, outcomes);
      } else {
        come(key, r, 3, outcomes, [](CpuRank&) { ADD_FAILURE() << "the job ran"; });
      }
    }
    expect_all(outcomes.wait_for(3),
               "rank " + std::to_string(culprit) + " of 3 failed: no workspace");
  }
}

TEST_F(Rendezvous, AProgramThatThrowsFailsAll) {
  const CallKey key = new_call();
  const Outcomes outcomes;
  come(key, 0, 2, outcomes, [](CpuRank& rank) { rank.barrier(rank.panel()); });
  come(key, 1, 2, outcomes, [](CpuRank&) { throw std::runtime_error("why"); });
  expect_all(outcomes.wait_for(2), "rank 1 of 2 failed: why");
}

TEST_F(Rendezvous, MissingRanksAreNamedAndLateOnesToldAtOnce) {
  setenv("JAXMG_TIMEOUT", "0.3", 1);
  const CallKey key = new_call();
  const Outcomes outcomes;
  const auto begun = Clock::now();
  for (const int r : {0, 2, 3}) come(key, r, 5, outcomes);
  std::vector<std::string> told = outcomes.wait_for(3);
  const auto waited = Clock::now() - begun;
  EXPECT_GE(waited, 300ms);
  EXPECT_LT(waited, 5s);
  const std::string message =
      "potrs: ranks 1, 4 of 5 did not come within 0.3 s (JAXMG_TIMEOUT); does every device "
      "of the mesh run this call?";
  expect_all(told, message);

  setenv("JAXMG_TIMEOUT", "600", 1);  // those who come late do not wait for each other
  come(key, 4, 5, outcomes);
  expect_all(outcomes.wait_for(4), message);
  come(key, 1, 5, outcomes);
  expect_all(outcomes.wait_for(5), message);

  for (int r = 0; r < 5; ++r) come(key, r, 5, outcomes);
  EXPECT_EQ(outcomes.wait_for(10).back(), "") << "the next call works";
}

TEST_F(Rendezvous, WhatIsNoTimeOutIsNone) {
  for (const char* const value : {"inf", "1e300", "nan", "-1", "0", "0.001 s", "soon", ""}) {
    setenv("JAXMG_TIMEOUT", value, 1);
    const CallKey key = new_call();
    const Outcomes outcomes;
    come(key, 0, 2, outcomes);
    std::this_thread::sleep_for(20ms);
    come(key, 1, 2, outcomes);
    expect_all(outcomes.wait_for(2), "");
  }
}

TEST_F(Rendezvous, TheNextVisitWorksWhileLateRanksCatchUp) {
  setenv("JAXMG_TIMEOUT", "0.1", 1);
  const CallKey key = new_call();
  const Outcomes first, second;
  come(key, 0, 2, first);
  EXPECT_NE(first.wait_for(1).front(), "");
  setenv("JAXMG_TIMEOUT", "600", 1);
  come(key, 0, 2, second, SameVisit(1));
  come(key, 1, 2, first);
  EXPECT_EQ(first.wait_for(2)[1], first.wait_for(2)[0]);
  come(key, 1, 2, second, SameVisit(1));
  expect_all(second.wait_for(2), "");
}

TEST_F(Rendezvous, WaitingCallsHaveTimeOutsOfTheirOwn) {
  setenv("JAXMG_TIMEOUT", "600", 1);
  const CallKey patient_key = new_call();
  const Outcomes patient, hasty;
  come(patient_key, 0, 2, patient);
  setenv("JAXMG_TIMEOUT", "0.1", 1);
  come(new_call(), 0, 2, hasty);
  EXPECT_NE(hasty.wait_for(1).front(), "");
  EXPECT_EQ(patient.count(), 0u);
  come(patient_key, 1, 2, patient);
  expect_all(patient.wait_for(2), "");
}

/// A number of /proc/self/status.
long process_status(const std::string& name) {
  std::ifstream status("/proc/self/status");
  for (std::string word; status >> word;) {
    if (word != name + ":") continue;
    long value = 0;
    status >> value;
    return value;
  }
  return -1;
}

constexpr bool memory_tells =
#if defined(JAXMG_SANITIZE_THREAD) || defined(JAXMG_SANITIZE_ADDRESS)
    false;  // what is freed is kept for a while
#else
    true;
#endif

TEST_F(Rendezvous, ThousandsOfCallsLeaveNothingBehind) {
  constexpr int size = 3;
  const Outcomes outcomes;
  std::size_t ranks = 0;
  const std::string call(20000, 'x');  // a call that is kept shows in the memory
  const auto make_calls = [&](int count) {
    const CallKey loop = new_call();
    for (int i = 0; i < count; ++i) {
      const CallKey key = i % 2 == 0 ? loop : new_call();
      for (int r = 0; r < size; ++r)
        come(
            key, r, size, outcomes, [](CpuRank&) {}, call);
      ranks += size;
      if (i % 50 == 0) outcomes.wait_for(ranks);
    }
    outcomes.wait_for(ranks);
  };
  make_calls(200);
  const long memory = process_status("VmRSS");
  make_calls(memory_tells ? 3000 : 1000);
  expect_all(outcomes.wait_for(ranks), "");
  if (memory_tells) {
    EXPECT_LT(process_status("VmRSS") - memory, 20000) << "kB";
  }

  const long few = 20;  // the last are about to end
  const auto deadline = Clock::now() + 10s;
  while (process_status("Threads") > few && Clock::now() < deadline) {
    std::this_thread::sleep_for(1ms);
  }
  EXPECT_LE(process_status("Threads"), few);
}

TEST_F(Rendezvous, FailedCallsWhoseRanksNeverComeAreForgotten) {
  const Outcomes outcomes;
  const auto fail = [&](std::size_t count) {
    const std::size_t before = outcomes.count();
    for (std::size_t i = 1; i <= count; ++i) {
      bring_failure(new_call(), 0, 2, outcomes, std::string(50000, 'x'));
      if (i % 50 == 0) outcomes.wait_for(before + i);
    }
    outcomes.wait_for(before + count);
  };
  fail(200);
  const long memory = process_status("VmRSS");
  fail(1000);
  if (memory_tells) {
    EXPECT_LT(process_status("VmRSS") - memory, 20000) << "kB";
  }
}

}  // namespace
}  // namespace jaxmg
