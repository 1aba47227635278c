// Calls of several processes. A job's processes are this program again, each with one disabled test
// to run; see run_job(). What rank programs compute there is tested as the kind Processes.
#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <future>
#include <memory>
#include <mutex>
#include <numeric>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "device/cpu/allocate.hpp"
#include "stream_socket.hpp"
#include "team/processes/exchange.hpp"
#include "team/processes/ring_link.hpp"

namespace jaxmg {
namespace {

using cpu::Backend;
using processes::Exchange;
using namespace std::chrono_literals;

constexpr int ranks_a_process = 2;
constexpr const char* job_variable = "JAXMG_TEST_JOB_PROCESS";
/// The descriptor by which a process listens for those of other hosts.
constexpr int inherited_socket = 100;

struct Place {
  std::string job;
  int process;
  int processes;
  std::vector<processes::Contact> contacts;  // of all, where each takes itself for alone on a host
  int ranks() const { return processes * ranks_a_process; }
};

/// Which process of which job this one is: "name process processes contacts".
Place place() {
  std::istringstream text(std::getenv(job_variable));
  Place here;
  text >> here.job >> here.process >> here.processes;
  for (std::string address, port; text >> address >> port;) {
    here.contacts.push_back(processes::Contact::of(address + ' ' + port));
  }
  return here;
}

/// Every other one was there before, as far as they tell: some pairs connect twice at once, some
/// not before one has connected to the other.
processes::Network network_of(const Place& here) {
  processes::Network network;
  if (here.contacts.empty()) return network;
  const auto contact = [&](int process) {
    return here.contacts[static_cast<std::size_t>(process)];
  };
  network.listening = processes::Descriptor(inherited_socket);
  network.contact = contact(here.process);
  network.secret = here.job;
  for (int process = 0; process < here.processes; ++process) {
    if (process < here.process || (process + here.process) % 2 == 0) {
      if (process != here.process) network.others[process] = contact(process);
    }
  }
  return network;
}

Exchange& exchange() {
  const Place here = place();
  const std::string host = here.contacts.empty() ? "" : "-" + std::to_string(here.process);
  static auto* const made = new Exchange({here.job + host, here.process, here.processes},
                                         processes::RingLink::make, network_of(here));
  return *made;
}

/// Runs `program` on this process's ranks of a call; the failure's message, or nothing.
std::vector<std::string> call(std::int64_t ticket, const RankProgram<Backend>& program,
                              const std::string& what = "a test") {
  std::vector<std::future<std::string>> outcomes;
  for (int i = 0; i < ranks_a_process; ++i) {
    const auto outcome = std::make_shared<std::promise<std::string>>();
    outcomes.push_back(outcome->get_future());
    RankTask task{program, [outcome](const std::exception_ptr& failure) {
                    outcome->set_value(failure ? message_of(failure) : "");
                  }};
    const int rank = place().process * ranks_a_process + i;
    exchange().arrive({{0, 0, 0}, ticket},
                      processes::spread({rank, place().ranks(), what, std::move(task), nullptr}));
  }
  std::vector<std::string> messages;
  for (auto& outcome : outcomes) messages.push_back(outcome.get());
  return messages;
}

void expect_all(const std::vector<std::string>& messages, const std::string& part) {
  for (const std::string& message : messages) {
    if (part.empty()) {
      EXPECT_EQ(message, "");
    } else {
      EXPECT_NE(message.find(part), std::string::npos) << message;
    }
  }
}

/// Memory that peers may read until all ranks have met: a program that is left must not free it.
std::shared_ptr<double> kept(index_t count) {
  static std::mutex mutex;
  static std::vector<std::shared_ptr<double>> all;
  const std::unique_lock lock(mutex);
  return all.emplace_back(cpu::allocate<double>(count));
}

/// Each rank in turn tells the others a number, and shows them a matrix, which may be larger than a
/// ring.
void pass_around(Rank<Backend>& rank, index_t rows, index_t cols) {
  const index_t ld = rows + 3, count = ld * cols;
  const auto mine = kept(count), copy = kept(count);
  for (int owner = 0; owner < rank.size(); ++owner) {
    std::iota(mine.get(), mine.get() + count, 1000.0 * rank.index() + owner);
    std::fill_n(copy.get(), count, -1.0);
    const index_t tag = rank.reserve(1);
    rank.tell(tag, {std::to_string(1000 * rank.index() + owner), nullptr});
    if (rank.hear(owner, tag).text != std::to_string(1001 * owner)) throw Error("a wrong note");
    rank.post(tag, mine.get(), rank.panel());
    const double* theirs = rank.take<double>(owner, tag, rank.copies());
    rank.read<double>(owner, rank.copies(), {theirs, rows, cols, ld}, {copy.get(), rows, cols, ld});
    rank.copies().synchronize();
    for (index_t at = 0; at < count; ++at) {
      const double expected = at % ld < rows ? 1001.0 * owner + static_cast<double>(at) : -1;
      if (copy.get()[at] != expected) throw Error("wrong data at " + std::to_string(at));
    }
    rank.barrier(rank.panel());
    rank.panel().synchronize();
  }
}

std::ptrdiff_t open_descriptors() {
  const std::filesystem::directory_iterator all("/proc/self/fd");
  return std::distance(begin(all), end(all));
}

// ---- What a process of a job does ---------------------------------------------------------------

TEST(JobProcess, DISABLED_PassesAround) {
  cpu::set_chaos({static_cast<unsigned>(place().process) + 1, 50});
  expect_all(call(1, [](Rank<Backend>& rank) { pass_around(rank, 700, 500); }), "");
  const auto before = open_descriptors();
  for (std::int64_t ticket = 2; ticket < 100; ++ticket) {
    expect_all(call(ticket, [=](Rank<Backend>& rank) { pass_around(rank, ticket, 3); }), "");
  }
  EXPECT_LE(open_descriptors(), before);
}

TEST(JobProcess, DISABLED_Fails) {
  const int last = place().ranks() - 1;
  for (std::int64_t ticket = 1; ticket < 20; ++ticket) {
    const auto program = [=](Rank<Backend>& rank) {
      rank.barrier(rank.panel());
      if (rank.index() == last && ticket % 2 == 0) {
        rank.panel().enqueue([] { throw Error("on purpose"); });
      }
      pass_around(rank, 40, 5);
    };
    expect_all(call(ticket, program), ticket % 2 == 0
                                          ? "rank " + std::to_string(last) + " of " +
                                                std::to_string(last + 1) + " failed: on purpose"
                                          : "");
  }
}

/// Of a descriptor that a rank passes on those of its host get one for the same.
TEST(JobProcess, DISABLED_PassesDescriptors) {
  const auto before = open_descriptors();
  for (std::int64_t ticket = 1; ticket < 30; ++ticket) {
    const auto program = [](Rank<Backend>& rank) {
      const index_t tag = rank.reserve(2);
      const auto mine = std::make_shared<const processes::Descriptor>(::memfd_create("note", 0));
      const std::string said = std::to_string(rank.index());
      if (::write(mine->get(), said.data(), said.size()) < 0) throw Error("cannot write");
      rank.tell(tag, {said, mine});
      for (int p = 0; p < rank.size(); ++p) {
        const Note heard = rank.hear(p, tag);
        EXPECT_EQ(heard.text, std::to_string(p));
        EXPECT_EQ(rank.shares_host(p),
                  place().contacts.empty() || p / ranks_a_process == place().process);
        ASSERT_NE(heard.passed, nullptr);
        if (!rank.shares_host(p)) {
          EXPECT_TRUE(heard.passed->empty());
          continue;
        }
        char read = 0;
        EXPECT_EQ(::pread(heard.passed->get(), &read, 1, 0), 1);
        EXPECT_EQ(std::string(1, read), heard.text);
      }
    };
    expect_all(call(ticket, program), "");
  }
  EXPECT_LE(open_descriptors(), before + 20);
}

/// The others listen to a rank that says nothing.
TEST(JobProcess, DISABLED_IsKilledWhileHeard) {
  const auto program = [](Rank<Backend>& rank) {
    rank.barrier(rank.panel());
    rank.synchronize();
    const index_t tag = rank.reserve(1);
    if (rank.index() == rank.size() - 1) {
      std::this_thread::sleep_for(100ms);
      std::raise(SIGKILL);
    }
    rank.hear(rank.size() - 1, tag);
  };
  const auto begin = std::chrono::steady_clock::now();
  expect_all(call(1, program), "rank " + std::to_string(place().ranks() - ranks_a_process) + " of");
  EXPECT_LT(std::chrono::steady_clock::now() - begin, 20s);
}

TEST(JobProcess, DISABLED_Disagrees) {
  const std::string mine = place().process == 0 ? "an apple" : "a pear";
  expect_all(call(1, {}, mine), "while others came for");
  expect_all(call(2, [](Rank<Backend>& rank) { pass_around(rank, 4, 5); }), "");
}

TEST(JobProcess, DISABLED_IsKilled) {
  expect_all(call(1, [](Rank<Backend>& rank) { pass_around(rank, 4, 5); }), "");
  const bool dies = place().process == place().processes - 1;
  const auto begin = std::chrono::steady_clock::now();
  const auto program = [=](Rank<Backend>& rank) {
    pass_around(rank, 40, 5);
    if (dies && rank.index() == rank.size() - 1) std::raise(SIGKILL);
    pass_around(rank, 40, 5);
  };
  const std::string named = "rank " + std::to_string(place().ranks() - ranks_a_process) + " of";
  expect_all(call(2, program), named);
  expect_all(call(3, program), "has ended");
  EXPECT_LT(std::chrono::steady_clock::now() - begin, 20s);
}

// ---- The tests ----------------------------------------------------------------------------------

enum class Hosts { one, as_many };

/// Runs JobProcess.DISABLED_`what` in all processes of a job; their exit statuses, as waitpid() has
/// them. What does not end in time is killed.
std::vector<int> run_job(const std::string& what, int processes, Hosts hosts = Hosts::one,
                         int number = 0) {
  const std::string job = "cpp-" + std::to_string(::getpid()) + "-" + std::to_string(number);
  const std::vector<testing::ListeningStream> streams(
      hosts == Hosts::one ? 0 : static_cast<std::size_t>(processes));
  std::string contacts;
  for (const auto& stream : streams) contacts += " " + stream.contact().text();
  std::vector<pid_t> children;
  for (int process = 0; process < processes; ++process) {
    std::string filter = "--gtest_filter=JobProcess.DISABLED_" + what;
    std::string also = "--gtest_also_run_disabled_tests";
    std::string name = "/proc/self/exe";
    std::vector<char*> arguments{name.data(), filter.data(), also.data(), nullptr};
    std::string variable = std::string(job_variable) + "=" + job + " " + std::to_string(process) +
                           " " + std::to_string(processes) + contacts;
    std::vector<char*> variables{variable.data()};
    for (char** entry = environ; *entry != nullptr; ++entry) variables.push_back(*entry);
    variables.push_back(nullptr);
    posix_spawn_file_actions_t actions;
    ::posix_spawn_file_actions_init(&actions);
    if (!streams.empty()) {
      const int own = streams[static_cast<std::size_t>(process)].descriptor().get();
      ::posix_spawn_file_actions_adddup2(&actions, own, inherited_socket);
    }
    pid_t child = 0;
    EXPECT_EQ(
        ::posix_spawn(&child, name.c_str(), &actions, nullptr, arguments.data(), variables.data()),
        0);
    ::posix_spawn_file_actions_destroy(&actions);
    children.push_back(child);
  }
  std::vector<int> statuses(children.size(), -1);
  const auto limit = std::chrono::steady_clock::now() + 100s;
  for (std::size_t left = children.size(); left > 0;) {
    const bool late = std::chrono::steady_clock::now() > limit;
    for (std::size_t i = 0; i < children.size(); ++i) {
      if (children[i] == 0) continue;
      if (late) ::kill(children[i], SIGKILL);
      if (::waitpid(children[i], &statuses[i], late ? 0 : WNOHANG) == 0) continue;
      children[i] = 0;
      --left;
    }
    std::this_thread::sleep_for(10ms);
  }
  return statuses;
}

std::vector<int> all_well(int processes) {
  return std::vector<int>(static_cast<std::size_t>(processes), 0);
}

class Job : public ::testing::TestWithParam<Hosts> {};
INSTANTIATE_TEST_SUITE_P(On, Job, ::testing::Values(Hosts::one, Hosts::as_many),
                         [](const auto& hosts) {
                           return hosts.param == Hosts::one ? "OneHost" : "SeveralHosts";
                         });

TEST_P(Job, PassesMatrices) {
  for (const int processes : {2, 3, 4}) {
    EXPECT_EQ(run_job("PassesAround", processes, GetParam()), all_well(processes));
  }
}

TEST_P(Job, PassesDescriptors) {
  EXPECT_EQ(run_job("PassesDescriptors", 3, GetParam()), all_well(3));
}

TEST_P(Job, TellsThoseWhoHearThatAProcessIsKilled) {
  EXPECT_EQ(run_job("IsKilledWhileHeard", 3, GetParam()), (std::vector<int>{0, 0, SIGKILL}));
}

TEST_P(Job, TellsAllOfAFailureAndGoesOn) {
  EXPECT_EQ(run_job("Fails", 3, GetParam()), all_well(3));
}

TEST_P(Job, TellsAllThatTheyDisagreeAndGoesOn) {
  EXPECT_EQ(run_job("Disagrees", 2, GetParam()), all_well(2));
}

TEST_P(Job, NamesTheRankOfAProcessThatIsKilledAndLeavesNothing) {
  EXPECT_EQ(run_job("IsKilled", 3, GetParam()), (std::vector<int>{0, 0, SIGKILL}));
  std::ifstream sockets("/proc/net/unix");
  for (std::string line; std::getline(sockets, line);) {
    EXPECT_EQ(line.find("jaxmg-cpp-" + std::to_string(::getpid())), std::string::npos) << line;
  }
}

TEST_P(Job, DoesNotDisturbAnother) {
  auto other =
      std::async(std::launch::async, [] { return run_job("PassesAround", 2, GetParam(), 1); });
  EXPECT_EQ(run_job("PassesAround", 2, GetParam(), 2), all_well(2));
  EXPECT_EQ(other.get(), all_well(2));
}

}  // namespace
}  // namespace jaxmg
