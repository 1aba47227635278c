// How the ranks of a call find each other across processes.
#include <algorithm>
#include <cstdlib>
#include <iostream>

#include "team/processes/exchange.hpp"
#include "team/rendezvous_impl.hpp"
#include "team/tell.hpp"

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

Message about(Kind kind, const CallName& name, int rank, int size) {
  Message message{kind, rank, size};
  message.call = name;
  return message;
}

Message arrival_of(const CallName& name, int rank, int size, int place) {
  Message message = about(Kind::arrive, name, rank, size);
  message.place = place;
  return message;
}

Message refusal_of(const CallName& name, int rank, int size) {
  return about(Kind::refuse, name, rank, size);
}

}  // namespace

bool Exchange::Call::is_in(int process) const {
  return std::any_of(ranks.begin(), ranks.end(),
                     [process](const RankPlace& rank) { return rank.process == process; });
}

bool Exchange::Call::is_complete() const { return !is_in(nobody); }

std::string Exchange::Call::missing() const {
  std::string all;
  for (int r = 0; r < size; ++r) {
    if (!is_here(r)) all += (all.empty() ? "" : ", ") + std::to_string(r);
  }
  return all;
}

void Exchange::settle(Due& due) {
  for (const auto& [tasks, failure] : due.told) tell_each(tasks, failure);
  for (const auto& start : due.started) start();
  for (auto& [team, refusal] : due.losses) team->lose(refusal.rank, refusal.why);
  for (const int process : due.ended) link_->lose(process);
}

void Exchange::arrive(const Visit& visit, Arrival<SpreadTask> arrival) {
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
    const RankPlace here{identity_.process, arrival.task.place};
    tell_all(arrival_of(name, arrival.rank, arrival.size, here.place), arrival.call);
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
      seat(name, here, arrival.rank, due);
    }
    if (const auto it = calls_.find(name);
        it != calls_.end() && !it->second.failure && !it->second.running) {
      if (const auto lost = loss(it->second)) fail_everywhere(name, it->second, *lost, due);
    }
    forget_oldest_failed();
    wake();
  }
  settle(due);
}

/// With a ticket: that, and how often this rank has come with it. Else a rank's k-th visit of a
/// call site belongs to the site's k-th call, and a call gets the number of such calls before.
CallName Exchange::name_of(const Visit& visit, const Arrival<SpreadTask>& arrival) {
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
    call.ranks.assign(static_cast<std::size_t>(size), {nobody, 0});
    call.team = link_->make_team(name, size);
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
    const int other = call.process_of(rank);
    return Refusal{rank, "it came in process " + std::to_string(other) + " and in process " +
                             std::to_string(process)};
  }
  return std::nullopt;
}

/// Without tickets, calls of one program that do not depend on each other could be taken for each
/// other: another process may come to them in another order.
std::optional<Exchange::Refusal> Exchange::ambiguity(const CallName& name, const Visit& visit,
                                                     int rank) const {
  if (visit.ticket != 0 || visit.is_announcement || visit.in_order) return std::nullopt;
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

std::string Exchange::loss_of(int process) const {
  return "its process, number " + std::to_string(process) + " of the job, " +
         peers_[static_cast<std::size_t>(process)].why_lost;
}

/// A rank that will not come any more, since its process has ended.
std::optional<Exchange::Refusal> Exchange::loss(const Call& call) const {
  const auto last = last_seats_.find(call.size);
  int alone = 0;
  for (const Peer& peer : peers_) alone += peer.lost ? 1 : 0;
  for (int rank = 0; rank < call.size; ++rank) {
    int process = call.process_of(rank);
    if (process == nobody && last != last_seats_.end()) {
      process = last->second[static_cast<std::size_t>(rank)].process;
    }
    if (process == nobody && alone == identity_.processes - 1 && alone > 0) {
      return Refusal{rank, "all other processes of the job have ended"};
    }
    if (process != nobody && peers_[static_cast<std::size_t>(process)].lost) {
      return Refusal{rank, loss_of(process)};
    }
  }
  return std::nullopt;
}

void Exchange::seat(const CallName& name, const RankPlace& place, int rank, Due& due) {
  Call& call = calls_.at(name);
  if (rank >= call.size) return;
  call.ranks[static_cast<std::size_t>(rank)] = place;
  if (!call.is_complete()) return;
  if (call.failure) {
    forget(name);
  } else {
    start(name, call, due);
  }
}

void Exchange::start(const CallName& name, Call& call, Due& due) {
  last_seats_[call.size] = call.ranks;
  if (call.is_announcement) {
    std::vector<SpreadTask> tasks;
    for (auto& [rank, task] : call.tasks) tasks.push_back(std::move(task));
    due.told.push_back({std::move(tasks), nullptr});
  }
  if (call.is_announcement || call.tasks.empty()) return forget(name);

  call.running = true;
  call.team->seat(call.ranks);
  const auto left = std::make_shared<std::atomic<std::size_t>>(call.tasks.size());
  for (auto& [rank, task] : call.tasks) {
    due.started.emplace_back([this, name, left, team = call.team, start = std::move(task.start)] {
      start(team, [this, name, left] {
        if (--*left != 0) return;
        std::unique_lock lock(mutex_);
        forget(name);
      });
    });
  }
  call.tasks.clear();
}

void Exchange::fail(Call& call, const Refusal& refusal, Due& due) {
  if (!call.failure) {
    call.failure = refusal.rank < 0
                       ? std::make_exception_ptr(TimeOut(refusal.why))
                       : std::make_exception_ptr(TeamError(refusal.rank, call.size, refusal.why));
  }
  std::vector<SpreadTask> tasks;
  for (auto& [rank, task] : call.tasks) tasks.push_back(std::move(task));
  call.tasks.clear();
  due.told.push_back({std::move(tasks), call.failure});
}

void Exchange::fail_everywhere(const CallName& name, Call& call, const Refusal& refusal, Due& due) {
  fail(call, refusal, due);
  tell_all(refusal_of(name, refusal.rank, call.size), refusal.why);
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
    if (call.is_in(identity_.process)) continue;
    for (int process = 0; process < identity_.processes; ++process) {
      if (!call.is_in(process)) continue;
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
      fail_everywhere(
          name, call,
          {-1, call.text + ": ranks " + call.missing() + " of " + std::to_string(call.size) +
                   " did not come within " + detail::in_seconds(call.timeout) +
                   " (JAXMG_TIMEOUT); does every process run this call" + elsewhere() + "?"},
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
      const RankPlace& place = call.ranks[static_cast<std::size_t>(rank)];
      if (place.process != identity_.process) continue;
      send(peer, arrival_of(name, rank, call.size, place.place), call.text);
    }
    if (!call.failure) continue;
    send(peer, refusal_of(name, -1, call.size), message_of(call.failure));
  }
}

void Exchange::lose_calls(int process, Due& due) {
  for (auto& [name, call] : calls_) {
    if (call.running) {
      due.losses.push_back({call.team, {process, loss_of(process)}});
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
  seat(message.call, {process, message.place}, message.rank, due);
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
