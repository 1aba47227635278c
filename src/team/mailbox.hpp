// How the ranks of one call in one process find each other's data.
#pragma once

#include <chrono>
#include <condition_variable>
#include <exception>
#include <map>
#include <mutex>
#include <string>
#include <utility>

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

  /// A reader gives up when for `silence` nothing at all has been posted.
  Mailbox(int size, std::chrono::milliseconds silence) : size_(size), silence_(silence) {}

  void post(int rank, index_t tag, const void* data, Event event) {
    std::unique_lock lock(mutex_);
    entries_.emplace(std::pair(rank, tag), Entry{data, std::move(event)});
    ++posted_;
    changed_.notify_all();
  }

  Entry take(int rank, index_t tag) {
    const std::pair key(rank, tag);
    std::unique_lock lock(mutex_);
    while (true) {
      const index_t before = posted_;
      const bool woken = changed_.wait_for(lock, silence_, [&] {
        return failed_rank_ >= 0 || entries_.count(key) != 0 || posted_ != before;
      });
      if (failed_rank_ >= 0) throw TeamError(failed_rank_, size_, message_of(failure_));
      if (const auto entry = entries_.find(key); entry != entries_.end()) return entry->second;
      if (!woken) {
        throw TimeOut("nothing came from rank " + std::to_string(rank) + " for " +
                      std::to_string(silence_.count()) + " ms inside a call");
      }
    }
  }

  void tell(int rank, index_t tag, Note note) {
    std::unique_lock lock(mutex_);
    notes_.emplace(std::pair(rank, tag), std::move(note));
    ++posted_;
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
  void leave() {
    std::unique_lock lock(mutex_);
    ++arrived_;
    changed_.notify_all();
  }

  /// Blocks until all ranks are here; then tells all of them the same: the failure, or null. Ranks
  /// may meet any number of times.
  std::exception_ptr meet() {
    std::unique_lock lock(mutex_);
    const index_t all = (arrived_ / size_ + 1) * size_;
    ++arrived_;
    changed_.notify_all();
    changed_.wait(lock, [&] { return arrived_ >= all; });
    if (failed_rank_ < 0) return nullptr;
    return std::make_exception_ptr(TeamError(failed_rank_, size_, message_of(failure_)));
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<std::pair<int, index_t>, Entry> entries_;
  std::map<std::pair<int, index_t>, Note> notes_;
  int size_;
  index_t arrived_ = 0;
  int failed_rank_ = -1;
  index_t posted_ = 0;
  std::exception_ptr failure_;
  std::chrono::milliseconds silence_;
};

}  // namespace jaxmg
