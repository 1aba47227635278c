// How the ranks of one call in one process find each other's data.
#pragma once

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <map>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "jaxmg/error.hpp"
#include "jaxmg/types.hpp"
#include "team/note.hpp"

namespace jaxmg {

/// What `error` says.
std::string message_of(const std::exception_ptr& error);

/// Entries (pointer, event) of one call's ranks, by (rank, tag). An entry is posted once, after its
/// event has been recorded; a reader blocks on the host until it is there. Notes, likewise, have no
/// events. A rank that fails poisons the mailbox: every reader, waiting or to come, then throws
/// that rank's failure.
template <class Event>
class Mailbox {
 public:
  struct Entry {
    const void* data;
    Event event;
  };

  /// A reader gives up when for `silence` nothing at all has been posted or told, and no rank has
  /// given a sign of life.
  Mailbox(int size, std::chrono::milliseconds silence)
      : size_(size), met_(static_cast<std::size_t>(size), 0), silence_(silence) {}

  void post(int rank, index_t tag, const void* data, Event event) {
    std::unique_lock lock(mutex_);
    entries_.emplace(std::pair(rank, tag), Entry{data, std::move(event)});
    ++signs_;
    changed_.notify_all();
  }

  Entry take(int rank, index_t tag) {
    const std::pair key(rank, tag);
    std::unique_lock lock(mutex_);
    while (true) {
      const index_t before = signs_;
      const bool woken = changed_.wait_for(lock, silence_, [&] {
        return failed_rank_ >= 0 || entries_.count(key) != 0 || signs_ != before;
      });
      if (failed_rank_ >= 0) throw TeamError(failed_rank_, size_, message_of(failure_));
      if (const auto entry = entries_.find(key); entry != entries_.end()) return entry->second;
      if (!woken) {
        throw TimeOut("nothing came from rank " + std::to_string(rank) + " for " +
                      std::to_string(silence_.count()) + " ms inside a call");
      }
    }
  }

  /// A rank's host waits for its own device.
  void give_sign_of_life() {
    std::unique_lock lock(mutex_);
    ++signs_;
    changed_.notify_all();
  }

  void tell(int rank, index_t tag, Note note) {
    std::unique_lock lock(mutex_);
    notes_.emplace(std::pair(rank, tag), std::move(note));
    ++signs_;
    changed_.notify_all();
  }

  /// However long it takes: `rank` is known to be at work.
  Note hear(int rank, index_t tag) {
    const std::pair key(rank, tag);
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return failed_rank_ >= 0 || notes_.count(key) != 0; });
    if (failed_rank_ >= 0) throw TeamError(failed_rank_, size_, message_of(failure_));
    return notes_.at(key);
  }

  /// The first failure stays.
  void poison(int rank, std::exception_ptr failure) {
    std::unique_lock lock(mutex_);
    if (failed_rank_ >= 0) return;
    failed_rank_ = rank;
    failure_ = std::move(failure);
    changed_.notify_all();
  }

  /// Counts a rank that has no thread to meet() with as here, once.
  void leave(int rank) {
    std::unique_lock lock(mutex_);
    ++met_[static_cast<std::size_t>(rank)];
    changed_.notify_all();
  }

  /// Blocks until all ranks are here; then tells all of them the same: the failure, or null. Ranks
  /// may meet any number of times.
  std::exception_ptr meet(int rank) {
    std::unique_lock lock(mutex_);
    const index_t meeting = ++met_[static_cast<std::size_t>(rank)];
    changed_.notify_all();
    changed_.wait(lock, [&] {
      return std::all_of(met_.begin(), met_.end(), [&](index_t met) { return met >= meeting; });
    });
    if (failed_rank_ < 0) return nullptr;
    return std::make_exception_ptr(TeamError(failed_rank_, size_, message_of(failure_)));
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<std::pair<int, index_t>, Entry> entries_;
  std::map<std::pair<int, index_t>, Note> notes_;
  int size_;
  std::vector<index_t> met_;  ///< how often each rank has come to a meeting
  int failed_rank_ = -1;
  index_t signs_ = 0;  ///< how often anybody has been heard of
  std::exception_ptr failure_;
  std::chrono::milliseconds silence_;
};

}  // namespace jaxmg
