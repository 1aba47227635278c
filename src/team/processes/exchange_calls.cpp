// How the ranks of a call find each other across processes.
#include <algorithm>
#include <cstdlib>
#include <iostream>

#include "team/processes/exchange.hpp"
#include "team/rendezvous_impl.hpp"

namespace jaxmg::processes {
namespace {

/// FNV-1a: the same in all processes.
std::uint64_t hash_of(const std::string& text) {
  std::uint64_t hash = 14695981039346656037u;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211u;
  return hash;
}

/// Agreed numbers are not repeated; these are remembered for a call in a loop that has one number.
constexpr std::size_t remembered_tickets = 1024;

/// Failed calls are kept, for late ranks, only so many: their ranks may never come.
constexpr std::size_t remembered_failures = 64;

std::string ended(int process) {
  return "its process, number " + std::to_string(process) + " of the job, has ended";
}

}  // namespace

bool Exchange::Call::is_complete() const {
  return std::find(processes.begin(), processes.end(), nobody) == processes.end();
}

std::string Exchange::Call::missing() const {
  std::string ranks;
  for (int r = 0; r < size; ++r) {
    if (!is_here(r)) ranks += (ranks.empty() ? "" : ", ") + std::to_string(r);
  }
  return ranks;
}

void Exchange::Due::settle() {
  for (auto& [tasks, failure] : told) tell_each(std::move(tasks), failure);
  for (auto& [team, ranks] : started) start_ranks(std::move(team), std::move(ranks));
  for (auto& [team, refusal] : losses) team->lose(refusal.rank, refusal.why);
}

void Exchange::arrive(const Visit& visit, Arrival<RankTask> arrival) {
  cpu::check_process();
  arrival.call.resize(std::min(arrival.call.size(), longest_text));
  Due due;
  {
    std::unique_lock lock(mutex_);
    const CallName name = name_of(visit, arrival);
    Call& call = call_of(name, arrival.call, arrival.size);
    if (call.tasks.empty() && !call.failure) {
      call.begun = Clock::now();
      call.timeout = detail::arrival_timeout();
    }
    call.is_announcement = visit.is_announcement;
    tell_all({Kind::arrive, arrival.rank, arrival.size, -1, name}, arrival.call);
    auto refusal = objection(call, identity_.process, arrival.rank, arrival.size, arrival.call);
    if (arrival.failure) refusal = {arrival.rank, message_of(arrival.failure)};
    if (!refusal) refusal = ambiguity(name, visit, arrival.rank);
    if (!call.running) call.tasks.emplace(arrival.rank, std::move(arrival.task));
    if (call.running) {
      due.told.push_back({{std::move(arrival.task)},
                          std::make_exception_ptr(TeamError(
                              arrival.rank, arrival.size, refusal ? refusal->why : "came twice"))});
    } else {
      if (call.failure) {
        fail(call, {}, due);
      } else if (refusal) {
        fail_everywhere(name, call, *refusal, due);
      }
      seat(name, identity_.process, arrival.rank, due);
    }
    if (const auto it = calls_.find(name);
        it != calls_.end() && !it->second.failure && !it->second.running) {
      if (const auto lost = loss(it->second)) fail_everywhere(name, it->second, *lost, due);
    }
    forget_oldest_failed();
    wake();
  }
  due.settle();
}

/// With a ticket: that, and how often this rank has come with it. Else a rank's k-th visit of a
/// call site belongs to the site's k-th call, and a call gets the number of such calls before.
CallName Exchange::name_of(const Visit& visit, const Arrival<RankTask>& arrival) {
  if (visit.ticket != 0) {
    if (tickets_.count(visit.ticket) == 0) {
      ticket_order_.push_back(visit.ticket);
      if (ticket_order_.size() > remembered_tickets) {
        tickets_.erase(ticket_order_.front());
        ticket_order_.pop_front();
      }
    }
    return {visit.ticket, 0, tickets_[visit.ticket][arrival.rank]++};
  }
  Site& site = sites_[visit.site];
  const std::int64_t count = site.visits[arrival.rank]++;
  if (const auto known = site.open.find(count); known != site.open.end()) return known->second;
  const std::uint64_t hash =
      hash_of(arrival.call + '#' + std::to_string(arrival.size) + '#' +
              std::to_string(visit.site.group) + (visit.is_announcement ? "#announced" : ""));
  const CallName name{0, hash, numbers_[hash]++};
  site.open.emplace(count, name);
  call_of(name, arrival.call, arrival.size).visit = {visit.site, count};
  return name;
}

Exchange::Call& Exchange::call_of(const CallName& name, const std::string& text, int size) {
  const auto [it, is_new] = calls_.try_emplace(name);
  Call& call = it->second;
  if (is_new) {
    call.text = text;
    call.size = size;
    call.processes.assign(static_cast<std::size_t>(size), nobody);
    TeamOptions options;
    options.reads_peers_directly = false;
    call.team = std::make_shared<ProcessTeamCall>(*this, identity_.process, name, size, options);
  }
  return call;
}

std::optional<Exchange::Refusal> Exchange::objection(const Call& call, int process, int rank,
                                                     int size, const std::string& text) const {
  const auto what = [](const std::string& of, int ranks) {
    return of + " on " + std::to_string(ranks) + " ranks";
  };
  if (size != call.size || text != call.text) {
    return Refusal{rank, "it came for " + what(text, size) + " while others came for " +
                             what(call.text, call.size)};
  }
  if (call.is_here(rank)) {
    const int other = call.processes[static_cast<std::size_t>(rank)];
    return Refusal{rank, "it came in process " + std::to_string(other) + " and in process " +
                             std::to_string(process)};
  }
  return std::nullopt;
}

/// Without tickets, calls of one program that do not depend on each other could be taken for each
/// other: another process may come to them in another order.
std::optional<Exchange::Refusal> Exchange::ambiguity(const CallName& name, const Visit& visit,
                                                     int rank) const {
  if (visit.ticket != 0 || visit.is_announcement) return std::nullopt;
  for (const auto& [other, call] : calls_) {
    if (other.hash == name.hash && other != name && call.visit &&
        call.visit->first.run == visit.site.run && !call.failure) {
      return Refusal{rank,
                     "two calls of one exported program, " + call.text +
                         ", are under way at once, and processes could mix them up; make one "
                         "depend on the other, or export where jax.distributed is initialized"};
    }
  }
  return std::nullopt;
}

/// A rank that will not come any more, since its process has ended.
std::optional<Exchange::Refusal> Exchange::loss(const Call& call) const {
  const auto last = last_seats_.find(call.size);
  int alone = 0;
  for (const Peer& peer : peers_) alone += peer.lost ? 1 : 0;
  for (int rank = 0; rank < call.size; ++rank) {
    const auto r = static_cast<std::size_t>(rank);
    int process = call.processes[r];
    if (process == nobody && last != last_seats_.end()) process = last->second[r];
    if (process == nobody && alone == identity_.processes - 1 && alone > 0) {
      return Refusal{rank, "all other processes of the job have ended"};
    }
    if (process != nobody && peers_[static_cast<std::size_t>(process)].lost) {
      return Refusal{rank, ended(process)};
    }
  }
  return std::nullopt;
}

void Exchange::seat(const CallName& name, int process, int rank, Due& due) {
  Call& call = calls_.at(name);
  if (rank >= call.size) return;
  call.processes[static_cast<std::size_t>(rank)] = process;
  if (!call.is_complete()) return;
  if (call.failure) {
    forget(name);
  } else {
    start(name, call, due);
  }
}

void Exchange::start(const CallName& name, Call& call, Due& due) {
  last_seats_[call.size] = call.processes;
  if (call.is_announcement) {
    std::vector<RankTask> tasks;
    for (auto& [rank, task] : call.tasks) tasks.push_back(std::move(task));
    due.told.push_back({std::move(tasks), nullptr});
  }
  if (call.is_announcement || call.tasks.empty()) return forget(name);

  call.running = true;
  call.team->seat(call.processes);
  const auto left = std::make_shared<std::atomic<std::size_t>>(call.tasks.size());
  std::vector<SeatedTask> ranks;
  for (auto& [rank, task] : call.tasks) {
    task.done = [this, name, left, done = std::move(task.done)](const std::exception_ptr& failure) {
      if (--*left == 0) {
        std::unique_lock lock(mutex_);
        forget(name);
      }
      done(failure);
    };
    ranks.push_back({rank, std::move(task)});
  }
  call.tasks.clear();
  due.started.emplace_back(call.team, std::move(ranks));
}

void Exchange::fail(Call& call, const Refusal& refusal, Due& due) {
  if (!call.failure) {
    call.failure = refusal.rank < 0
                       ? std::make_exception_ptr(TimeOut(refusal.why))
                       : std::make_exception_ptr(TeamError(refusal.rank, call.size, refusal.why));
  }
  std::vector<RankTask> tasks;
  for (auto& [rank, task] : call.tasks) tasks.push_back(std::move(task));
  call.tasks.clear();
  due.told.push_back({std::move(tasks), call.failure});
}

void Exchange::fail_everywhere(const CallName& name, Call& call, const Refusal& refusal, Due& due) {
  fail(call, refusal, due);
  tell_all({Kind::refuse, refusal.rank, call.size, -1, name}, refusal.why);
}

void Exchange::forget(const CallName& name) {
  const auto call = calls_.find(name);
  if (call == calls_.end()) return;
  if (const auto& visit = call->second.visit) {
    if (const auto site = sites_.find(visit->first); site != sites_.end()) {
      site->second.open.erase(visit->second);
      if (site->second.open.empty()) sites_.erase(site);
    }
  }
  calls_.erase(call);
}

void Exchange::forget_oldest_failed() {
  std::vector<std::pair<Clock::time_point, CallName>> failed;
  for (const auto& [name, call] : calls_) {
    if (call.failure) failed.emplace_back(call.begun, name);
  }
  if (failed.size() <= remembered_failures) return;
  std::sort(failed.begin(), failed.end());
  failed.resize(failed.size() - remembered_failures);
  for (const auto& [begun, name] : failed) forget(name);
}

/// Calls that other processes have come to, and no rank of this one.
std::string Exchange::elsewhere() const {
  std::string all;
  for (const auto& [name, call] : calls_) {
    const auto is_in = [&seats = call.processes](int process) {
      return std::find(seats.begin(), seats.end(), process) != seats.end();
    };
    if (is_in(identity_.process)) continue;
    for (int process = 0; process < identity_.processes; ++process) {
      if (!is_in(process)) continue;
      all += "; process " + std::to_string(process) + (call.failure ? " has waited" : " waits") +
             " in " + call.text;
    }
  }
  return all;
}

std::optional<Exchange::Clock::time_point> Exchange::look_at_clocks(Due& due) {
  std::optional<Clock::time_point> next;
  const auto now = Clock::now();
  for (auto& [name, call] : calls_) {
    if (call.running || call.failure || call.tasks.empty()) continue;
    const auto waited = std::chrono::duration_cast<std::chrono::milliseconds>(now - call.begun);
    if (waited >= call.timeout) {
      const double seconds = static_cast<double>(call.timeout.count()) / 1000;
      fail_everywhere(
          name, call,
          {-1, call.text + ": ranks " + call.missing() + " of " + std::to_string(call.size) +
                   " did not come within " + std::to_string(seconds) +
                   " s (JAXMG_TIMEOUT); does every process run this call, and are "
                   "all of them on one host" +
                   elsewhere() + "?"},
          due);
      continue;
    }
    if (waited >= detail::warn_after && !call.warned) {
      call.warned = true;
      std::cerr << "jaxmg: process " << identity_.process << ": " << call.text
                << " has been waiting " << waited.count() / 1000 << " s for ranks "
                << call.missing() << " of " << call.size << elsewhere() << std::endl;
    }
    const auto deadline = call.begun + call.timeout;
    const auto warning = call.begun + detail::warn_after;
    const auto first = call.warned ? deadline : std::min<Clock::time_point>(deadline, warning);
    next = next ? std::min(*next, first) : first;
  }
  return next;
}

/// To a process that has just been reached: who of this one waits, and what has failed.
void Exchange::tell_waiting(int process) {
  Peer& peer = peers_[static_cast<std::size_t>(process)];
  for (const auto& [name, call] : calls_) {
    for (int rank = 0; rank < call.size; ++rank) {
      if (call.processes[static_cast<std::size_t>(rank)] != identity_.process) continue;
      send(peer, {Kind::arrive, rank, call.size, -1, name}, call.text);
    }
    if (!call.failure) continue;
    send(peer, {Kind::refuse, -1, call.size, -1, name}, message_of(call.failure));
  }
}

void Exchange::lose_calls(int process, Due& due) {
  for (auto& [name, call] : calls_) {
    if (call.running) {
      due.losses.push_back({call.team, {process, ended(process)}});
    } else if (!call.failure) {
      if (const auto lost = loss(call)) fail(call, *lost, due);
    }
  }
}

void Exchange::handle_arrival(int process, const Message& message, const std::string& text,
                              Due& due) {
  Call& call = call_of(message.call, text, message.size);
  if (call.text.empty()) call.text = text;
  const auto refusal = objection(call, process, message.rank, message.size, text);
  if (refusal && call.running) return;
  if (refusal && !call.failure) fail_everywhere(message.call, call, *refusal, due);
  if (call.begun == Clock::time_point()) call.begun = Clock::now();
  seat(message.call, process, message.rank, due);
  forget_oldest_failed();
}

void Exchange::handle_refusal(int process, const Message& message, const std::string& text,
                              Due& due) {
  Call& call = call_of(message.call, "", message.size);
  if (call.running) {
    due.losses.push_back({call.team, {process, text}});
  } else if (!call.failure) {
    call.begun = Clock::now();
    fail(call, {message.rank, text}, due);
  }
  forget_oldest_failed();
}

}  // namespace jaxmg::processes
