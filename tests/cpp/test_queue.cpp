#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <latch>
#include <mutex>
#include <numeric>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include "device/cpu/queue.hpp"
#include "gate.hpp"
#include "jaxmg/error.hpp"
#include "team/jobs.hpp"
#include "team/rendezvous.hpp"

namespace jaxmg::cpu {
namespace {

using testing::Gate;
using namespace std::chrono_literals;

/// What tasks did, in order.
class Log {
 public:
  void write(int entry) {
    const std::lock_guard lock(mutex_);
    entries_.push_back(entry);
  }
  std::vector<int> entries() const {
    const std::lock_guard lock(mutex_);
    return entries_;
  }

 private:
  mutable std::mutex mutex_;
  std::vector<int> entries_;
};

std::vector<int> count_up(int count) {
  std::vector<int> numbers(static_cast<std::size_t>(count));
  std::iota(numbers.begin(), numbers.end(), 0);
  return numbers;
}

class CpuQueue : public ::testing::Test {
 protected:
  void SetUp() override { set_permits(2); }
  void TearDown() override { set_chaos({}); }
};

TEST_F(CpuQueue, RunsInOrder) {
  set_permits(4);
  Log log;
  Queue queue(Priority::normal);
  for (int i = 0; i < 200; ++i) queue.enqueue([&log, i] { log.write(i); });
  queue.synchronize();
  EXPECT_EQ(log.entries(), count_up(200));
}

TEST_F(CpuQueue, IsAsynchronous) {
  Gate gate;
  bool done = false;
  Queue queue(Priority::normal);
  queue.enqueue([gate] { gate.pass(); });
  queue.enqueue([&done] { done = true; });
  const Event event = queue.record();
  gate.open();  // would never come to this if enqueuing waited for the tasks
  event.synchronize();
  EXPECT_TRUE(done);
}

TEST_F(CpuQueue, ADefaultEventHasHappened) {
  Event().synchronize();
  Queue queue(Priority::normal);
  queue.wait(Event());
  queue.synchronize();
}

TEST_F(CpuQueue, EventsOrderQueues) {
  Gate gate;
  Log log;
  Queue first(Priority::normal), second(Priority::high), third(Priority::normal);
  first.enqueue([gate] { gate.pass(); });
  first.enqueue([&log] { log.write(0); });
  second.wait(first.record());
  second.enqueue([&log] { log.write(1); });
  third.wait(second.record());
  third.wait(first.record());
  third.enqueue([&log] { log.write(2); });
  gate.open();
  third.synchronize();
  EXPECT_EQ(log.entries(), count_up(3));
}

TEST_F(CpuQueue, AnEventDoesNotCoverWhatIsEnqueuedAfterIt) {
  Gate gate;
  Queue queue(Priority::normal);
  const Event event = queue.record();
  queue.enqueue([gate] { gate.pass(); });
  event.synchronize();
  gate.open();
  queue.synchronize();
}

TEST_F(CpuQueue, AParkedQueueHoldsNoWorker) {
  set_permits(1);
  constexpr int waiters = 50;
  Gate gate;
  std::atomic<int> done{0};
  Queue source(Priority::normal);
  source.enqueue([gate] { gate.pass(); });
  source.enqueue([] {});
  const Event event = source.record();
  // Taken before `source` if they were taken at all.
  std::vector<std::unique_ptr<Queue>> parked;
  for (int i = 0; i < waiters; ++i) {
    parked.push_back(std::make_unique<Queue>(Priority::high));
    parked.back()->wait(event);
    parked.back()->enqueue([&done] { ++done; });
  }
  gate.open();
  for (const auto& queue : parked) queue->synchronize();
  EXPECT_EQ(done, waiters);
}

TEST_F(CpuQueue, ALongChainOfParkedQueuesUnwinds) {
  constexpr int links = 2000;
  Gate gate;
  Queue source(Priority::normal);
  source.enqueue([gate] { gate.pass(); });
  Event event = source.record();
  for (int i = 0; i < links; ++i) {
    Queue link(Priority::normal);
    link.wait(event);
    event = link.record();
  }
  gate.open();
  event.synchronize();
}

TEST_F(CpuQueue, HighPriorityGoesFirst) {
  set_permits(1);
  Gate gate;
  Log log;
  Queue busy(Priority::normal);
  std::latch running(1);
  busy.enqueue([gate, &running] {
    running.count_down();
    gate.pass();
  });
  running.wait();
  std::vector<std::unique_ptr<Queue>> queues;
  for (int i = 0; i < 10; ++i) {
    const Priority priority = i < 5 ? Priority::normal : Priority::high;
    queues.push_back(std::make_unique<Queue>(priority));
    queues.back()->enqueue([&log, i] { log.write(i); });
  }
  gate.open();
  for (const auto& queue : queues) queue->synchronize();
  EXPECT_EQ(log.entries(), (std::vector<int>{5, 6, 7, 8, 9, 0, 1, 2, 3, 4}));
}

TEST_F(CpuQueue, PermitsBoundTheTasksThatRun) {
  for (const int permits : {3, 1, 2}) {  // down too: workers that are too many must keep still
    set_permits(permits);
    std::atomic<int> running{0}, most{0};
    std::vector<std::unique_ptr<Queue>> queues;
    for (int i = 0; i < 12; ++i) {
      queues.push_back(std::make_unique<Queue>(i % 2 == 0 ? Priority::normal : Priority::high));
      for (int task = 0; task < 5; ++task) {
        queues.back()->enqueue([&] {
          const int now = ++running;
          for (int seen = most; seen < now && !most.compare_exchange_weak(seen, now);) {
          }
          std::this_thread::sleep_for(200us);
          --running;
        });
      }
    }
    for (const auto& queue : queues) queue->synchronize();
    EXPECT_LE(most, permits);
  }
}

TEST_F(CpuQueue, AsManyTasksRunAtOnceAsThereArePermits) {
  constexpr int permits = 5;
  set_permits(permits);
  std::latch together(permits);  // hangs if one were missing
  std::vector<std::unique_ptr<Queue>> queues;
  for (int i = 0; i < permits; ++i) {
    queues.push_back(std::make_unique<Queue>(Priority::normal));
    queues.back()->enqueue([&together] { together.arrive_and_wait(); });
  }
  for (const auto& queue : queues) queue->synchronize();
}

TEST_F(CpuQueue, ThereIsAlwaysAPermit) {
  set_permits(0);
  Queue queue(Priority::normal);
  queue.enqueue([] {});
  queue.synchronize();
}

TEST_F(CpuQueue, AnExceptionStopsTheQueueButNotItsEvents) {
  bool skipped = true;
  Queue failing(Priority::normal), healthy(Priority::normal);
  failing.enqueue([] { throw std::runtime_error("the first"); });
  failing.enqueue([&skipped] { skipped = false; });
  failing.enqueue([] { throw std::runtime_error("the second"); });
  const Event event = failing.record();
  bool done = false;
  healthy.wait(event);
  healthy.enqueue([&done] { done = true; });
  healthy.synchronize();
  EXPECT_TRUE(done) << "queues that wait for a failed one go on";
  try {
    failing.synchronize();
    FAIL() << "no exception";
  } catch (const std::runtime_error& error) {
    EXPECT_STREQ(error.what(), "the first");
  }
  EXPECT_TRUE(skipped);

  failing.enqueue([&skipped] { skipped = false; });
  failing.synchronize();
  EXPECT_FALSE(skipped) << "once told, the queue works again";
}

TEST_F(CpuQueue, ADestroyedQueueFinishesItsWork) {
  Gate gate;
  std::atomic<int> done{0};
  Event event;
  {
    Queue source(Priority::normal), queue(Priority::normal);
    source.enqueue([gate] { gate.pass(); });
    queue.wait(source.record());
    for (int i = 0; i < 10; ++i) queue.enqueue([&done] { ++done; });
    event = queue.record();
  }
  gate.open();
  event.synchronize();
  EXPECT_EQ(done, 10);
}

TEST_F(CpuQueue, ATasksCapturesAreGoneOnceItIsDone) {
  const auto captured = std::make_shared<int>(0);
  Queue queue(Priority::normal);
  queue.enqueue([captured] {});
  queue.synchronize();
  EXPECT_EQ(captured.use_count(), 1);
}

/// The order in which one worker takes the tasks of six queues of five.
std::vector<int> order_of_tasks() {
  set_permits(1);
  Gate gate;
  Log log;
  Queue busy(Priority::high);
  busy.enqueue([gate] { gate.pass(); });
  std::vector<std::unique_ptr<Queue>> queues;
  for (int i = 0; i < 6; ++i) {
    queues.push_back(std::make_unique<Queue>(Priority::normal));
    for (int task = 0; task < 5; ++task) {
      queues.back()->enqueue([&log, i, task] { log.write(10 * i + task); });
    }
  }
  gate.open();
  for (const auto& queue : queues) queue->synchronize();
  return log.entries();
}

TEST_F(CpuQueue, ChaosChangesTheOrderButNotTheResult) {
  const std::vector<int> calm = order_of_tasks();
  bool differs = false;
  for (unsigned seed = 1; seed <= 5; ++seed) {
    set_chaos({seed, 20});
    std::vector<int> order = order_of_tasks();
    differs = differs || order != calm;
    std::stable_sort(order.begin(), order.end(), [](int a, int b) { return a / 10 < b / 10; });
    for (int i = 0; i < 30; ++i) {
      EXPECT_EQ(order.at(static_cast<std::size_t>(i)), 10 * (i / 5) + i % 5)
          << "each queue in its own order";
    }
  }
  EXPECT_TRUE(differs);
  set_chaos({});
  EXPECT_EQ(order_of_tasks(), calm);
}

TEST_F(CpuQueue, ManyHostThreadsMayUseQueuesAtOnce) {
  set_permits(3);
  set_chaos({7, 20});
  std::vector<std::thread> hosts;
  std::atomic<int> done{0};
  for (int h = 0; h < 8; ++h) {
    hosts.emplace_back([&done] {
      int sum = 0;
      Queue a(Priority::normal), b(Priority::high);
      for (int i = 0; i < 50; ++i) {
        a.enqueue([&sum] { ++sum; });
        b.wait(a.record());
        b.enqueue([&sum] { sum *= 2; });
        a.wait(b.record());
        a.enqueue([&sum] { sum /= 2; });
      }
      a.synchronize();
      if (sum == 50) ++done;
    });
  }
  for (std::thread& host : hosts) host.join();
  EXPECT_EQ(done, 8);
}

/// Runs `child` in a forked process: its exit status, or -1 if it had to be killed.
template <class Child>
int exit_status_of_fork(Child child) {
  const pid_t pid = fork();
  if (pid == 0) _exit(child());
  const auto deadline = std::chrono::steady_clock::now() + 20s;
  int status = 0;
  while (waitpid(pid, &status, WNOHANG) == 0) {
    if (std::chrono::steady_clock::now() > deadline) {
      kill(pid, SIGKILL);
      waitpid(pid, &status, 0);
      return -1;
    }
    std::this_thread::sleep_for(2ms);
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/// 0 if `use` throws Error that tells about the fork.
template <class Use>
int tells_about_the_fork(Use use) {
  try {
    use();
  } catch (const Error& error) {
    return std::string(error.what()).find("fork") != std::string::npos ? 0 : 2;
  } catch (...) {
    return 3;
  }
  return 1;
}

TEST_F(CpuQueue, AForkedChildGetsAnErrorAndDoesNotHang) {
  Queue queue(Priority::normal);
  queue.enqueue([] {});
  queue.synchronize();
  EXPECT_EQ(exit_status_of_fork(
                [&queue] { return tells_about_the_fork([&queue] { queue.enqueue([] {}); }); }),
            0);
  EXPECT_EQ(exit_status_of_fork([] { return tells_about_the_fork([] { set_permits(2); }); }), 0);
  EXPECT_EQ(exit_status_of_fork(
                [] { return tells_about_the_fork([] { run_team(2, [](auto&) {}, {}); }); }),
            0);
}

}  // namespace
}  // namespace jaxmg::cpu
