// What ranks on one kind of device need to make calls with other processes, and what an exchange
// tells them. RingLink is for CPUs, cuda::DeviceLink for GPUs.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "team/processes/connection.hpp"

namespace jaxmg::processes {

/// What a job and a process in it are called.
struct Identity {
  std::string job;  ///< equal in all processes of the job on a host, and in no others
  int process;
  int processes;
};

/// Where a rank of a call is.
struct RankPlace {
  int process;
  int place;  ///< which of that process's devices
};

/// Tells other processes things. Messages to one process arrive in the order of their telling.
class Courier {
 public:
  virtual ~Courier() = default;
  /// Never waits. `text`: at most longest() bytes. `descriptor`: one to pass on, which must stay
  /// open, or -1; only processes of this host get it.
  virtual void tell(int process, const Message& message, const std::string& text,
                    int descriptor = -1) = 0;
  /// To all that are connected.
  virtual void tell_everybody(const Message& message, const std::string& text,
                              int descriptor = -1) = 0;
  /// Whether a process that has been heard of is on this host.
  virtual bool shares_host(int process) = 0;
};

/// The ranks of one call in this process.
class Member {
 public:
  virtual ~Member() = default;
  /// Where each rank is. Before the ranks of this process start.
  virtual void seat(const std::vector<RankPlace>& ranks) = 0;
  /// What another process says of its ranks.
  virtual void receive(Incoming& incoming) = 0;
  /// The ranks of a process will not say anything any more.
  virtual void lose(int process, const std::string& why) = 0;
};

/// A rank of this process that comes to a call.
struct SpreadTask {
  int place = 0;
  /// When all have come: starts this rank, which calls `ended` when it does nothing more.
  std::function<void(const std::shared_ptr<Member>& team, std::function<void()> ended)> start;
  /// Told, on a thread of its own, if the call fails before that; and when an announcement is over.
  std::function<void(const std::exception_ptr&)> done;
};

/// How ranks reach each other's data across processes. Made by an exchange, and lives as long.
/// Functions marked "thread" are called by the exchange's thread alone, and must not wait.
class Link {
 public:
  virtual ~Link() = default;
  virtual std::shared_ptr<Member> make_team(const CallName& name, int size) = 0;

  /// What `process` is sent when it has been connected to, the hello first, and, on one host, the
  /// descriptors that go with it.
  virtual std::vector<std::pair<Message, Descriptor>> greet(int process, Reach reach) = 0;
  /// Thread. Its hello: false if it is not one of ours. `passed` is empty between hosts.
  virtual bool welcome(int process, Reach reach, const Message& hello,
                       const Descriptor& passed) = 0;
  /// Thread. A message of a kind that is about data.
  virtual void handle(int process, Incoming& incoming) = 0;
  /// Thread. Goes on with what has been begun; whether to come back at once.
  virtual bool work() = 0;
  /// Thread. When to come back at the latest.
  virtual std::optional<std::chrono::steady_clock::time_point> next_look() { return std::nullopt; }
  /// For how long the thread looks for further messages after one before it sleeps.
  virtual std::chrono::microseconds alertness() const { return std::chrono::microseconds(0); }
  /// A process has ended, and the teams have been told. Without the exchange's lock.
  virtual void lose(int process) = 0;
};

using MakeLink = std::function<std::unique_ptr<Link>(const Identity&, Courier&)>;

}  // namespace jaxmg::processes
