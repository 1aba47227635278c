// The ranks of one call in several processes, as each process sees it, on any kind of device.
#pragma once

#include <algorithm>
#include <condition_variable>
#include <limits>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "team/processes/link.hpp"
#include "team/rank.hpp"

namespace jaxmg::processes {

/// A mailbox with a copy in every process that has ranks of the call; posting is telling all of
/// them. What an event of another process is here, and how its data is read, is for the kinds of
/// devices to say.
template <Backend B>
class SpreadTeamCall : public TeamCall<B>, public Member {
 public:
  using typename TeamCall<B>::Queue;
  using typename TeamCall<B>::Event;
  using typename TeamCall<B>::Entry;

  SpreadTeamCall(Courier& courier, int process, const CallName& name, int size_,
                 const TeamOptions& options_)
      : TeamCall<B>(size_, options_),
        courier_(courier),
        process_(process),
        name_(name),
        met_(static_cast<std::size_t>(size_), 0) {}

  void seat(const std::vector<RankPlace>& ranks) override {
    ranks_ = ranks;
    for (const RankPlace& rank : ranks) {
      if (rank.process != process_) others_.push_back(rank.process);
    }
    std::sort(others_.begin(), others_.end());
    others_.erase(std::unique(others_.begin(), others_.end()), others_.end());
  }

  Event post(int rank, index_t tag, const void* data, Queue& written_on) override {
    Event written = written_on.record();
    Message message{Kind::post, rank};
    message.tag = tag;
    message.address = reinterpret_cast<std::uintptr_t>(data);
    if (!others_.empty()) mark(message, written_on);
    {
      std::unique_lock lock(mutex_);
      entries_.emplace(Key(rank, tag), Posted{{data, written}, message});
      ++signs_;
      changed_.notify_all();
    }
    if (others_.empty()) return written;
    tell_others(message);
    told(message, written);
    return written;
  }

  Entry take(int rank, int source, index_t tag) override {
    const Key key(source, tag);
    std::unique_lock lock(mutex_);
    while (true) {
      const index_t before = signs_;
      const bool woken = changed_.wait_for(lock, this->options.silence, [&] {
        return !failures_.empty() || entries_.count(key) != 0 || signs_ != before;
      });
      if (!failures_.empty()) std::rethrow_exception(failure());
      if (const auto entry = entries_.find(key); entry != entries_.end()) {
        taken(rank, source, entry->second.message);
        return entry->second.entry;
      }
      if (!woken) {
        throw TimeOut("nothing came from rank " + std::to_string(source) + " for " +
                      std::to_string(this->options.silence.count()) + " ms inside a call");
      }
    }
  }

  void give_sign_of_life(int rank) override {
    {
      std::unique_lock lock(mutex_);
      ++signs_;
      changed_.notify_all();
    }
    tell_others({Kind::alive, rank});
  }

  void poison(int rank, std::exception_ptr failure) override {
    const std::string why = message_of(failure);
    {
      std::unique_lock lock(mutex_);
      if (!failures_.empty()) return;  // this rank has failed because another one has
      fail(rank, why);
    }
    tell_others({Kind::poison, rank}, why);
  }

  void leave(int rank) override {
    {
      std::unique_lock lock(mutex_);
      ++met_[static_cast<std::size_t>(rank)];
      end_meetings();
    }
    tell_others({Kind::met, rank});
  }

  std::exception_ptr meet(int rank) override {
    leave(rank);
    std::unique_lock lock(mutex_);
    const auto meeting = static_cast<std::size_t>(met_[static_cast<std::size_t>(rank)]);
    changed_.wait(lock, [&] { return outcomes_.size() >= meeting; });
    return outcomes_[meeting - 1];
  }

  /// The note is kept here, so that its descriptor is open while others may need it.
  void tell(int rank, index_t tag, Note note) override {
    if (note.text.size() > longest_text) throw Error("a note is too long");
    {
      std::unique_lock lock(mutex_);
      notes_.emplace(Key(rank, tag), note);
      ++signs_;
      changed_.notify_all();
    }
    Message message{Kind::note, rank};
    message.tag = tag;
    tell_others(message, note.text, note.passed ? note.passed->get() : -1);
  }

  Note hear(int source, index_t tag) override {
    const Key key(source, tag);
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return !failures_.empty() || notes_.count(key) != 0; });
    if (!failures_.empty()) std::rethrow_exception(failure());
    return notes_.at(key);
  }

  bool shares_host(int source) const override {
    const int process = place_of(source).process;
    return process == process_ || courier_.shares_host(process);
  }
  bool reaches(int source) const override { return place_of(source).process == process_; }

  void receive(Incoming& incoming) override {
    const Message& message = incoming.message;
    std::unique_lock lock(mutex_);
    switch (message.kind) {
      case Kind::post: {
        const auto* const address = reinterpret_cast<const void*>(message.address);
        entries_.emplace(Key(message.rank, message.tag),
                         Posted{{address, arrived(message, !failures_.empty())}, message});
        ++signs_;
        break;
      }
      case Kind::alive:
        ++signs_;
        break;
      case Kind::happened:
        happened(message);
        break;
      case Kind::poison:
        fail(message.rank, incoming.text);
        break;
      case Kind::met:
        ++met_[static_cast<std::size_t>(message.rank)];
        end_meetings();
        break;
      case Kind::note: {
        const auto passed = std::make_shared<const Descriptor>(std::move(incoming.passed));
        notes_.emplace(Key(message.rank, message.tag), Note{incoming.text, passed});
        ++signs_;
        break;
      }
      default:
        break;
    }
    changed_.notify_all();
  }

  void lose(int process, const std::string& why) override {
    std::unique_lock lock(mutex_);
    for (std::size_t rank = 0; rank < ranks_.size(); ++rank) {
      if (ranks_[rank].process != process) continue;
      if (failures_.empty()) fail(static_cast<int>(rank), why);
      met_[rank] = std::numeric_limits<index_t>::max();
    }
    end_meetings();
  }

 protected:
  /// The failure that all report, if a rank has failed.
  void throw_if_failed() {
    std::unique_lock lock(mutex_);
    if (!failures_.empty()) std::rethrow_exception(failure());
  }
  const RankPlace& place_of(int rank) const { return ranks_[static_cast<std::size_t>(rank)]; }
  const std::vector<RankPlace>& ranks() const { return ranks_; }
  /// Other processes that have ranks of the call.
  const std::vector<int>& others() const { return others_; }
  void tell_others(Message message, const std::string& text = {}, int descriptor = -1) {
    message.call = name_;
    for (const int process : others_) courier_.tell(process, message, text, descriptor);
  }

  // ---- What kinds of devices say ----------------------------------------------------------------

  /// Of an event that has just been recorded on `queue`: what others need to wait for it.
  virtual void mark(Message&, Queue&) {}
  /// The others know of it.
  virtual void told(const Message&, const Event&) {}

  // With the lock:

  /// `rank` has been given what `source` posted.
  virtual void taken(int /*rank*/, int /*source*/, const Message&) {}
  /// The event of another process's post.
  virtual Event arrived(const Message& post, bool has_failed) = 0;
  virtual void happened(const Message&) {}
  /// Lets queues drain: what others have posted may never happen.
  virtual void release() {}

 private:
  using Key = std::pair<int, index_t>;
  struct Posted {
    Entry entry;
    Message message;
  };

  // With the lock:

  std::exception_ptr failure() const {
    if (failures_.empty()) return nullptr;
    const auto& [rank, why] = *failures_.begin();
    return std::make_exception_ptr(TeamError(rank, this->size, why));
  }

  void fail(int rank, const std::string& why) {
    failures_.emplace(rank, why);
    release();
    changed_.notify_all();
  }

  /// A meeting ends when all ranks have come. A rank's failure is told before its coming: so all
  /// processes then know of the same failures, and take that of the lowest rank.
  void end_meetings() {
    const auto ended = static_cast<std::size_t>(*std::min_element(met_.begin(), met_.end()));
    if (ended <= outcomes_.size()) return;
    outcomes_.resize(ended, failure());
    changed_.notify_all();
  }

  Courier& courier_;
  const int process_;
  const CallName name_;
  std::vector<RankPlace> ranks_;
  std::vector<int> others_;  // processes that have ranks

  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<Key, Posted> entries_;
  std::map<Key, Note> notes_;
  index_t signs_ = 0;                         // how often anybody has been heard of
  std::map<int, std::string> failures_;       // by rank
  std::vector<index_t> met_;                  // how often each rank has come to a meeting
  std::vector<std::exception_ptr> outcomes_;  // of the meetings
};

}  // namespace jaxmg::processes
