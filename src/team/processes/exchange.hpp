// The processes of a job: how they reach each other, and how the ranks of their calls find each
// other.
#pragma once

#include <chrono>
#include <ctime>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "team/processes/link.hpp"
#include "team/processes/socket.hpp"
#include "team/rendezvous.hpp"

namespace jaxmg::processes {

/// How a rank's calls are told apart from those of other calls in flight.
struct Visit {
  CallKey site;                  ///< as in one process
  std::int64_t ticket;           ///< agreed on by the ranks of this call alone; 0: none
  bool is_announcement = false;  ///< one that only waits for the others
  bool in_order = false;  ///< all processes come to their calls without a ticket in the same order
};

/// How processes of other hosts and this one reach each other.
struct Network {
  Descriptor listening;           ///< a TCP socket; empty: this process is alone on its host
  Contact contact;                ///< where that is
  std::string secret;             ///< equal in all processes of the job, and known to nobody else
  std::map<int, Contact> others;  ///< processes of other hosts that listened before this one
};

/// Each process has a socket to each other one, to tell it things; how data is passed is the link's
/// matter. On a host sockets are local and have abstract names, memory has none: what is left of a
/// process that is killed is the end of its sockets, by which the others know. Between hosts they
/// are TCP: whoever connects says the job's secret first, and where it can be reached itself.
///
/// A thread of its own receives, does what the link has to do, and keeps the clocks of calls that
/// wait for ranks. It never waits for anything but events of sockets; who has something to tell
/// does not wait either: what a socket does not take at once is kept and sent later.
///
/// A process listens from its first call on, and connects to all that listen then. So each pair of
/// processes is connected as soon as both have made a call; what is waiting is told again to a
/// process that comes late. Never destroyed.
class Exchange final : public Courier {
 public:
  /// Throws Error if the operating system refuses.
  Exchange(Identity identity, const MakeLink& make_link, Network network = {});

  /// As jaxmg::arrive(), for a call whose ranks may be in several processes.
  void arrive(const Visit& visit, Arrival<SpreadTask> arrival);

  void tell(int process, const Message& message, const std::string& text, int descriptor) override;
  void tell_everybody(const Message& message, const std::string& text, int descriptor) override;
  bool shares_host(int process) override;
  Link& link() { return *link_; }

 private:
  using Clock = std::chrono::steady_clock;

  struct Peer {
    Sender out;
    Receiver in;
    std::optional<Contact> contact;  // of one on another host, when that is known
    std::string unreachable;         // why it cannot be connected to; the thread loses it then
    bool lost = false;
    std::string why_lost;
  };
  /// Somebody who has connected, and has not said who it is.
  struct Stranger {
    Receiver from;
    Clock::time_point until;
  };
  /// A call from its first rank's arrival on, until its ranks in this process are done, or, if it
  /// fails before it starts, until all ranks have come and been told.
  struct Call {
    std::string text;
    int size;
    std::vector<RankPlace> ranks;  // that have come; the process of others is nobody
    std::map<int, SpreadTask> tasks;
    std::shared_ptr<Member> team;
    Clock::time_point begun;
    std::chrono::milliseconds timeout;
    std::exception_ptr failure;                             // what late ranks are told
    std::optional<std::pair<CallKey, std::int64_t>> visit;  // of this process's ranks
    bool is_announcement = false;
    bool warned = false;
    bool running = false;

    int process_of(int rank) const { return ranks[static_cast<std::size_t>(rank)].process; }
    bool is_here(int rank) const { return process_of(rank) != nobody; }
    bool is_in(int process) const;
    bool is_complete() const;
    std::string missing() const;
  };
  using Calls = std::map<CallName, Call>;
  /// The visits of one call site by the ranks of this process, and the calls that they belong to.
  struct Site {
    std::map<int, std::int64_t> visits;
    std::map<std::int64_t, CallName> open;
  };

  static constexpr int nobody = -1;

  /// Why a call does not start: a rank's failure, or, without a rank, that not all came in time.
  struct Refusal {
    int rank;
    std::string why;
  };
  /// What is left to do once the lock is given back.
  struct Due {
    std::vector<std::pair<std::vector<SpreadTask>, std::exception_ptr>> told;
    std::vector<std::function<void()>> started;
    std::vector<std::pair<std::shared_ptr<Member>, Refusal>> losses;  // of a process
    std::vector<int> ended;
  };

  // ---- Calls, with the lock (exchange_calls.cpp) ------------------------------------------------
  void settle(Due& due);  // without it
  CallName name_of(const Visit& visit, const Arrival<SpreadTask>& arrival);
  Call& call_of(const CallName& name, const std::string& text, int size);
  std::optional<Refusal> objection(const Call& call, int process, int rank, int size,
                                   const std::string& text) const;
  std::optional<Refusal> ambiguity(const CallName& name, const Visit& visit, int rank) const;
  std::optional<Refusal> loss(const Call& call) const;
  std::string loss_of(int process) const;
  void seat(const CallName& name, const RankPlace& place, int rank, Due& due);
  void start(const CallName& name, Call& call, Due& due);
  void fail(Call& call, const Refusal& refusal, Due& due);
  void fail_everywhere(const CallName& name, Call& call, const Refusal& refusal, Due& due);
  void forget(const CallName& name);
  void forget_oldest_failed();
  std::string elsewhere() const;
  std::optional<Clock::time_point> look_at_clocks(Due& due);
  void tell_waiting(int process);
  void lose_calls(int process, Due& due);
  void handle_arrival(int process, const Message& message, const std::string& text, Due& due);
  void handle_refusal(int process, const Message& message, const std::string& text, Due& due);

  // ---- Connections ------------------------------------------------------------------------------
  std::string socket_name(int process) const;
  void send(Peer& peer, const Message& message, const std::string& text, int descriptor = -1);
  void tell_all(const Message& message, const std::string& text, int descriptor = -1);
  void connect(int process);
  void lose_unreachable(Due& due);
  void lose(int process, const std::string& why, Due& due);
  bool is_of_the_job(Reach reach, const Message& hello, const std::string& text);

  // ---- The thread -------------------------------------------------------------------------------
  void run();
  bool is_alert() const { return Clock::now() < last_message_ + link_->alertness(); }
  static std::optional<timespec> wait_at_most(const std::optional<Clock::time_point>& next,
                                              bool more);
  bool receive_some(int process);
  void send_more(int process, short happened, Due& due);
  void let_in();
  void welcome(Stranger stranger);
  void handle(int process, Incoming& incoming);
  void wake();

  const Identity identity_;
  const Network network_;
  Descriptor listening_;
  Descriptor waker_;
  std::unique_ptr<Link> link_;
  Clock::time_point last_message_;  // of the thread
  std::vector<Stranger> strangers_;

  std::mutex mutex_;
  std::vector<Peer> peers_;  // by process
  Calls calls_;
  std::map<CallKey, Site> sites_;
  std::map<std::int64_t, std::map<int, std::int64_t>> tickets_;  // visits by each rank
  std::deque<std::int64_t> ticket_order_;                        // the oldest first
  std::map<std::uint64_t, std::int64_t> numbers_;     // of calls joined, by the hash of their text
  std::map<int, std::vector<RankPlace>> last_seats_;  // of the last call, by its size
};

}  // namespace jaxmg::processes
