// The rendezvous itself, for the files that instantiate arrive().
#pragma once

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <deque>
#include <iostream>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <sstream>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "device/cpu/queue.hpp"
#include "team/rendezvous.hpp"
#include "team/tell.hpp"

namespace jaxmg::detail {

using Clock = std::chrono::steady_clock;
using std::chrono::duration_cast;
using std::chrono::milliseconds;

inline constexpr auto warn_after = std::chrono::seconds(10);

/// JAXMG_TIMEOUT, if that is a number above 0; a year at most, as for "inf".
inline milliseconds arrival_timeout() {
  constexpr double usual = 600, longest = 365 * 86400;
  const char* const text = std::getenv("JAXMG_TIMEOUT");
  char* end = nullptr;
  const double given = text == nullptr ? 0 : std::strtod(text, &end);
  const bool is_number = text != nullptr && *end == '\0' && given > 0;
  const double seconds = std::min(is_number ? given : usual, longest);
  return milliseconds(static_cast<std::int64_t>(1000 * seconds));
}

/// "0.3 s"
inline std::string in_seconds(milliseconds time) {
  std::ostringstream text;
  text << static_cast<double>(time.count()) / 1000 << " s";
  return text.str();
}

/// One call that waits for its ranks.
template <class Task>
struct Gathering {
  explicit Gathering(const Arrival<Task>& first)
      : call(first.call),
        size(first.size),
        tasks(static_cast<std::size_t>(first.size)),
        here(static_cast<std::size_t>(first.size), false),
        begun(Clock::now()),
        timeout(arrival_timeout()) {}

  std::string missing() const {
    std::string ranks;
    for (std::size_t r = 0; r < here.size(); ++r) {
      if (!here[r]) ranks += (ranks.empty() ? "" : ", ") + std::to_string(r);
    }
    return ranks;
  }

  std::string call;
  int size;
  std::vector<Task> tasks;
  std::vector<bool> here;
  std::size_t count = 0;
  Clock::time_point begun;
  milliseconds timeout;
  bool warned = false;
  std::exception_ptr failure;  // what late ranks are told
};

/// All calls of one key: how often each rank has come, and the gatherings from `first` on.
template <class Task>
struct Site {
  std::vector<std::int64_t> visits;
  std::int64_t first = 0;
  std::deque<Gathering<Task>> open;
};

/// Never destroyed: the watchdog may outlive main().
template <class Task>
class Rendezvous {
  using Gathering = detail::Gathering<Task>;
  using Site = detail::Site<Task>;
  using Arrival = jaxmg::Arrival<Task>;

 public:
  static Rendezvous& instance() {
    static Rendezvous* const rendezvous = new Rendezvous;
    return *rendezvous;
  }

  void arrive(const CallKey& key, Arrival arrival) {
    std::vector<Task> tasks;
    std::exception_ptr failure;
    {
      std::unique_lock lock(mutex_);
      Site& site = sites_[key];
      Gathering& gathering = join(site, arrival);
      failure = check(gathering, arrival);
      gathering.here[static_cast<std::size_t>(arrival.rank)] = true;
      ++gathering.count;
      if (failure) {
        tasks = take_tasks(gathering);
        gathering.failure = failure;
        tasks.push_back(std::move(arrival.task));
      } else {
        gathering.tasks[static_cast<std::size_t>(arrival.rank)] = std::move(arrival.task);
        if (gathering.count == gathering.here.size()) tasks = std::move(gathering.tasks);
      }
      forget_finished(key, site);
      wake_watchdog();
    }
    if (failure) {
      tell_each(tasks, failure);
    } else if (!tasks.empty()) {
      start_or_refuse(std::move(tasks));
    }
  }

 private:
  static void start_or_refuse(std::vector<Task> tasks) {
    const std::vector<Task> kept = tasks;
    try {
      start(std::move(tasks));
    } catch (...) {
      tell_each(kept, std::current_exception());
    }
  }

  // All of the following hold the lock.

  Gathering& join(Site& site, const Arrival& arrival) {
    const auto rank = static_cast<std::size_t>(arrival.rank);
    if (site.visits.size() <= rank) site.visits.resize(rank + 1, site.first);
    const std::int64_t visit = site.visits[rank]++;
    const auto at = static_cast<std::size_t>(visit - site.first);
    while (site.open.size() <= at) site.open.emplace_back(arrival);
    Gathering& gathering = site.open[at];
    if (gathering.here.size() <= rank) {  // of a larger team than the others: it will be refused
      gathering.here.resize(rank + 1, false);
      gathering.tasks.resize(rank + 1);
    }
    return gathering;
  }

  static std::exception_ptr check(const Gathering& gathering, const Arrival& arrival) {
    if (gathering.failure) return gathering.failure;
    if (arrival.failure) {
      return std::make_exception_ptr(
          TeamError(arrival.rank, arrival.size, message_of(arrival.failure)));
    }
    if (arrival.call == gathering.call && arrival.size == gathering.size) return nullptr;
    const auto what = [](const std::string& call, int size) {
      return call + " on " + std::to_string(size) + " ranks";
    };
    return std::make_exception_ptr(TeamError(arrival.rank, arrival.size,
                                             "it came for " + what(arrival.call, arrival.size) +
                                                 " while others came for " +
                                                 what(gathering.call, gathering.size)));
  }

  static std::vector<Task> take_tasks(Gathering& gathering) {
    std::vector<Task> tasks;
    for (Task& task : gathering.tasks) {
      if (task.done) tasks.push_back(std::move(task));
      task.done = nullptr;
    }
    return tasks;
  }

  /// Drops gatherings that all ranks have come to, and the site when it has none: if all ranks
  /// have come equally often, counting may start again.
  void forget_finished(const CallKey& key, Site& site) {
    while (!site.open.empty() && site.open.front().count == site.open.front().here.size()) {
      site.open.pop_front();
      ++site.first;
    }
    if (site.open.empty()) sites_.erase(key);
  }

  void wake_watchdog() {
    try {
      if (!watching_) std::thread([this] { watch(); }).detach();
      watching_ = true;
    } catch (const std::system_error&) {
      // Out of threads: without a time-out, until the next arrival finds one.
    }
    changed_.notify_one();
  }

  void watch() {
    std::unique_lock lock(mutex_);
    while (true) {
      const std::optional<Clock::time_point> next = next_deadline();
      if (next) {
        changed_.wait_until(lock, *next);
      } else {
        changed_.wait(lock);
      }
      const Clock::time_point now = Clock::now();
      for (auto& [key, site] : sites_) {
        for (Gathering& gathering : site.open) look_at(gathering, now);
      }
      drop_abandoned();
    }
  }

  std::optional<Clock::time_point> next_deadline() const {
    std::optional<Clock::time_point> next;
    for (const auto& [key, site] : sites_) {
      for (const Gathering& gathering : site.open) {
        if (gathering.failure || gathering.count == gathering.here.size()) continue;
        Clock::time_point deadline = gathering.begun + gathering.timeout;
        if (!gathering.warned) deadline = std::min(deadline, gathering.begun + warn_after);
        next = next ? std::min(*next, deadline) : deadline;
      }
    }
    return next;
  }

  void look_at(Gathering& gathering, Clock::time_point now) {
    if (gathering.failure || gathering.count == gathering.here.size()) return;
    const auto waited = duration_cast<milliseconds>(now - gathering.begun);
    if (waited >= gathering.timeout) {
      gathering.failure = std::make_exception_ptr(
          TimeOut(gathering.call + ": ranks " + gathering.missing() + " of " +
                  std::to_string(gathering.here.size()) + " did not come within " +
                  in_seconds(gathering.timeout) +
                  " (JAXMG_TIMEOUT); does every device of the mesh run this call?"));
      tell_each(take_tasks(gathering), gathering.failure);
    } else if (waited >= warn_after && !gathering.warned) {
      gathering.warned = true;
      std::cerr << "jaxmg: " << gathering.call << " has been waiting "
                << duration_cast<std::chrono::seconds>(waited).count() << " s for ranks "
                << gathering.missing() << " of " << gathering.here.size() << std::endl;
    }
  }

  /// Failed calls are kept, for late ranks, only so many: their ranks may never come.
  void drop_abandoned() {
    constexpr std::size_t kept = 64;
    std::vector<std::pair<Clock::time_point, CallKey>> failed;
    for (const auto& [key, site] : sites_) {
      const bool all_failed = std::all_of(site.open.begin(), site.open.end(),
                                          [](const Gathering& g) { return g.failure != nullptr; });
      if (all_failed) failed.emplace_back(site.open.front().begun, key);
    }
    if (failed.size() <= kept) return;
    std::sort(failed.begin(), failed.end());
    for (std::size_t i = 0; i < failed.size() - kept; ++i) sites_.erase(failed[i].second);
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<CallKey, Site> sites_;
  bool watching_ = false;
};

}  // namespace jaxmg::detail

namespace jaxmg {

template <class Task>
void arrive(const CallKey& key, Arrival<Task> arrival) {
  cpu::check_process();
  detail::Rendezvous<Task>::instance().arrive(key, std::move(arrival));
}

}  // namespace jaxmg
