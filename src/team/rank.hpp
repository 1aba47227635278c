// What a rank program sees of its team and of its own device.
#pragma once

#include <array>
#include <cstddef>
#include <functional>
#include <optional>
#include <utility>

#include "device/contract.hpp"
#include "team/mailbox.hpp"

namespace jaxmg {

struct TeamOptions {
  /// Read a peer's panel where it is, instead of pulling a copy: right where all ranks share
  /// one memory. Tests switch it off to run what devices with memories of their own run.
  bool reads_peers_directly = true;
  /// How long a rank may wait inside a call while nobody posts anything, and no rank's host waits
  /// for its own device.
  std::chrono::milliseconds silence = std::chrono::seconds(60);
};

/// Columns of bytes in some process's memory: `columns` of `height` bytes each, `stride` apart.
template <class Byte>
struct ByteColumns {
  Byte* data;
  index_t height;
  index_t columns;
  index_t stride;
};

/// The ranks of one call, and how they reach each other: LocalTeamCall where all of them are in
/// this process, SpreadTeamCall where they are not. `rank` is the one that calls.
template <Backend B>
class TeamCall {
 public:
  using Queue = typename B::Queue;
  using Event = typename B::Event;
  using Entry = typename Mailbox<Event>::Entry;

  TeamCall(int size_, const TeamOptions& options_) : size(size_), options(options_) {}
  virtual ~TeamCall() = default;

  const int size;
  const TeamOptions options;

  /// Before `rank`'s program: what has to be there for it to read from the others.
  virtual void begin(int /*rank*/) {}

  /// See Mailbox; the event is recorded on `written_on`.
  virtual Event post(int rank, index_t tag, const void* data, Queue& written_on) = 0;
  virtual Entry take(int rank, int source, index_t tag) = 0;
  /// `rank`'s host waits for its device: whoever waits for its posts goes on doing so.
  virtual void give_sign_of_life(int rank) = 0;
  virtual void poison(int rank, std::exception_ptr failure) = 0;
  virtual std::exception_ptr meet(int rank) = 0;
  virtual void leave(int rank) = 0;

  /// Between the ranks' threads alone, whatever queues do: see Mailbox::hear().
  virtual void tell(int rank, index_t tag, Note note) = 0;
  virtual Note hear(int source, index_t tag) = 0;

  /// Whether `source`'s process is on this process's host.
  virtual bool shares_host(int source) const = 0;

  /// Whether `source`'s memory is this process's, or its devices can reach it.
  virtual bool reaches(int source) const = 0;
  /// Enqueues a copy from the memory of a rank that is out of reach.
  virtual void read(int rank, int source, Queue& queue, const ByteColumns<const std::byte>& theirs,
                    const ByteColumns<std::byte>& mine) = 0;
};

/// A call whose ranks are all in this process.
template <Backend B>
class LocalTeamCall final : public TeamCall<B> {
 public:
  using typename TeamCall<B>::Queue;
  using typename TeamCall<B>::Event;
  using typename TeamCall<B>::Entry;

  LocalTeamCall(int size_, const TeamOptions& options_)
      : TeamCall<B>(size_, options_), mailbox_(size_, options_.silence) {}

  Event post(int rank, index_t tag, const void* data, Queue& written_on) override {
    Event written = written_on.record();
    mailbox_.post(rank, tag, data, written);
    return written;
  }
  Entry take(int, int source, index_t tag) override { return mailbox_.take(source, tag); }
  void give_sign_of_life(int) override { mailbox_.give_sign_of_life(); }
  void poison(int rank, std::exception_ptr failure) override {
    mailbox_.poison(rank, std::move(failure));
  }
  std::exception_ptr meet(int rank) override { return mailbox_.meet(rank); }
  void leave(int rank) override { mailbox_.leave(rank); }

  void tell(int rank, index_t tag, Note note) override {
    mailbox_.tell(rank, tag, std::move(note));
  }
  Note hear(int source, index_t tag) override { return mailbox_.hear(source, tag); }

  bool shares_host(int) const override { return true; }
  bool reaches(int) const override { return true; }
  void read(int, int source, Queue&, const ByteColumns<const std::byte>&,
            const ByteColumns<std::byte>&) override {
    throw Error("rank " + std::to_string(source) + " of this process is taken for a distant one");
  }

 private:
  Mailbox<Event> mailbox_;
};

/// A peer's data as this rank's queues may read it once `ready` has happened.
template <class Event, class T>
struct Received {
  MatrixView<const T> view;
  Event ready;
};

/// One rank of a call. Its program runs on a host thread of its own and only enqueues. All ranks
/// call the same collectives in the same order; only then do their tags agree.
template <Backend B>
class Rank {
 public:
  using Queue = typename B::Queue;
  using Event = typename B::Event;

  Rank(TeamCall<B>& team, int index, typename B::Device& device)
      : team_(team), index_(index), device_(device) {}

  int index() const { return index_; }
  int size() const { return team_.size; }
  bool reads_peers_directly() const { return team_.options.reads_peers_directly; }

  // A queue is there from its first use on.

  /// Large updates.
  Queue& bulk() { return queue(0, Priority::normal); }
  /// Large updates beside those; see algorithms/bulk_turns.hpp.
  Queue& second_bulk() { return queue(4, Priority::normal); }
  /// The critical path.
  Queue& panel() { return queue(1, Priority::high); }
  /// What the critical path needs soon.
  Queue& ahead() { return queue(2, Priority::high); }
  /// Data from peers.
  Queue& copies() { return queue(3, Priority::high); }

  /// `count` fresh tags, the same on all ranks.
  index_t reserve(index_t count) { return std::exchange(next_tag_, next_tag_ + count); }

  /// Lets peers read `data` once what `written_on` has been given so far is done: the event that
  /// is returned.
  Event post(index_t tag, const void* data, Queue& written_on) {
    return team_.post(index_, tag, data, written_on);
  }

  /// What `source` posted; `reader` waits until it may be read.
  template <class T>
  const T* take(int source, index_t tag, Queue& reader) {
    const auto entry = team_.take(index_, source, tag);
    reader.wait(entry.event);
    return static_cast<const T*>(entry.data);
  }

  /// What `source` posted, a matrix of `staging`'s shape with leading dimension `ld`, as `queue`
  /// may read it: where it is if peers are read directly, else pulled into `staging`.
  template <class T>
  MatrixView<const T> pull(int source, index_t tag, Queue& queue, index_t ld,
                           MatrixView<T> staging) {
    const MatrixView<const T> theirs(take<T>(source, tag, queue), staging.rows, staging.cols, ld);
    if (source == index_ || reads_peers_directly()) return theirs;
    read<T>(source, queue, theirs, staging);
    return staging;
  }

  /// mine := `theirs`, in the memory of `source`, which has posted where it is and which `queue`
  /// waits for. Nothing else reads a peer's memory, unless peers are read directly.
  template <class T>
  void read(int source, Queue& queue, MatrixView<const T> theirs, MatrixView<T> mine) {
    if (team_.reaches(source)) {
      B::template copy<T>(queue, theirs, mine);
    } else if (!mine.empty()) {
      team_.read(index_, source, queue, bytes_of<const std::byte>(theirs),
                 bytes_of<std::byte>(mine));
    }
  }

  /// Waits on `queue` for what `source` posted, whatever it is.
  void wait_for(int source, index_t tag, Queue& queue) { take<void>(source, tag, queue); }

  /// `mine` of rank `owner`, written on its `written_on` queue, to all. The owner, and everybody
  /// where peers are read directly, sees the owner's storage (its ld is `mine.ld` on all ranks);
  /// others pull it into `staging` on their `copies` queue, which must have been made to wait for
  /// `staging`'s last readers. `mine` and `staging` have the same shape on all ranks.
  template <class T>
  Received<Event, T> broadcast(int owner, Queue& written_on, MatrixView<const T> mine,
                               MatrixView<T> staging) {
    const index_t tag = reserve(1);
    if (owner == index_) return {mine, post(tag, mine.data, written_on)};
    const auto entry = team_.take(index_, owner, tag);
    const MatrixView<const T> theirs(static_cast<const T*>(entry.data), mine.rows, mine.cols,
                                     mine.ld);
    if (reads_peers_directly()) return {theirs, entry.event};
    copies().wait(entry.event);
    read<T>(owner, copies(), theirs, staging);
    return {staging, copies().record()};
  }

  /// gathered[p] := *mine of rank p, for all p.
  template <class T>
  void all_gather(Queue& queue, const T* mine, T* gathered) {
    const index_t tag = reserve(1);
    post(tag, mine, queue);
    for (int p = 0; p < size(); ++p) {
      const MatrixView<const T> theirs(take<T>(p, tag, queue), 1, 1, 1);
      read<T>(p, queue, theirs, {gathered + p, 1, 1, 1});
    }
  }

  /// *result := the smallest non-zero *info of all ranks, or 0. `gathered`: one a rank.
  void all_reduce_info(Queue& queue, const std::int32_t* info, std::int32_t* gathered,
                       std::int32_t* result) {
    all_gather(queue, info, gathered);
    B::first_failure(queue, gathered, size(), result);
  }

  /// *result := the sum of all ranks' *value, in rank order. `gathered`: one a rank.
  void all_reduce_sum(Queue& queue, const double* value, double* gathered, double* result) {
    all_gather(queue, value, gathered);
    B::total(queue, gathered, size(), result);
  }

  /// What follows on `queue` starts after what all ranks gave theirs before.
  void barrier(Queue& queue) {
    const index_t tag = reserve(1);
    post(tag, nullptr, queue);
    for (int p = 0; p < size(); ++p) wait_for(p, tag, queue);
  }

  // Between the ranks' threads alone, whatever the queues do.

  /// Tells peers at once.
  void tell(index_t tag, Note note) { team_.tell(index_, tag, std::move(note)); }
  /// What `source` told, however long that takes.
  Note hear(int source, index_t tag) { return team_.hear(source, tag); }

  /// Whether `source`'s process is on the host of this rank's.
  bool shares_host(int source) const { return team_.shares_host(source); }

  /// Tells the others when this rank's work, reads of peers included, is done.
  void post_exit() {
    exit_tag_ = reserve(1);
    Queue& last = panel();
    for (auto& other : queues_) {
      if (other && &*other != &last) last.wait(other->record());
    }
    post(exit_tag_, nullptr, last);
  }

  /// What follows on the caller's stream starts after all ranks' exits. Call when all have met.
  void follow_exits() {
    for (int p = 0; p < size(); ++p) device_.follow(team_.take(index_, p, exit_tag_).event);
  }

  /// Waits for all of this rank's work; throws its first error.
  void synchronize() {
    std::exception_ptr error;
    for (auto& queue : queues_) {
      try {
        if (queue) queue->synchronize();
      } catch (...) {
        if (!error) error = std::current_exception();
      }
    }
    if (error) std::rethrow_exception(error);
  }

 private:
  template <class Byte, class T>
  static ByteColumns<Byte> bytes_of(MatrixView<T> view) {
    constexpr auto size = static_cast<index_t>(sizeof(T));
    return {reinterpret_cast<Byte*>(view.data), view.rows * size, view.cols, view.ld * size};
  }

  Queue& queue(std::size_t which, Priority priority) {
    if (!queues_[which]) {
      queues_[which].emplace(device_, priority, SignOfLife{team_.options.silence / 4, [this] {
                                                             team_.give_sign_of_life(index_);
                                                           }});
    }
    return *queues_[which];
  }

  TeamCall<B>& team_;
  int index_;
  typename B::Device& device_;
  index_t next_tag_ = 0;
  index_t exit_tag_ = 0;
  std::array<std::optional<Queue>, 5> queues_;
};

template <Backend B>
using RankProgram = std::function<void(Rank<B>&)>;

/// Runs one rank's program to its end. Returns the same on all ranks: null, or the failure of the
/// rank that failed first. A peer may read a rank's buffers as long as it works, so no rank leaves
/// before all are done: a backend that returns early makes the caller's stream wait for all ranks'
/// exits (where that fails, its rank alone says so), others drain first. After a failure all stop
/// enqueuing, drain, and leave together.
template <Backend B>
std::exception_ptr run_rank(TeamCall<B>& team, int index, typename B::Device& device,
                            const RankProgram<B>& program) {
  std::optional<Rank<B>> rank;
  try {
    rank.emplace(team, index, device);
    team.begin(index);
    program(*rank);
    if constexpr (B::returns_early) {
      rank->post_exit();
    } else {
      rank->synchronize();
    }
  } catch (...) {
    team.poison(index, std::current_exception());
  }
  const std::exception_ptr failure = team.meet(index);
  if (!failure) {
    if constexpr (B::returns_early) {
      try {
        rank->follow_exits();
      } catch (...) {
        return std::current_exception();  // this device's alone: the others are done
      }
    }
    return nullptr;
  }
  try {
    if (rank) rank->synchronize();
  } catch (...) {
    // The failure that came first is the one that all report.
  }
  team.meet(index);
  return failure;
}

}  // namespace jaxmg
