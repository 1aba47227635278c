// The ranks of one call in several processes, as each process sees it.
#pragma once

#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "device/cpu/backend.hpp"
#include "team/processes/message.hpp"
#include "team/rank.hpp"

namespace jaxmg::processes {

/// Reaches the other processes of the job. Lives as long as the process.
class Courier {
 public:
  virtual ~Courier() = default;
  virtual void tell(int process, const Message& message, const std::string& text) = 0;
  /// Copies what `request` says from the memory of `process`, then opens `done`: also if the
  /// process ends, when nothing useful has been copied.
  virtual void fetch(int process, const Message& request, const ByteColumns<std::byte>& mine,
                     const cpu::Latch& done) = 0;
};

/// A mailbox with a copy in every process that has ranks of the call; posting is telling all of
/// them. An event of another process is here a latch, opened when that process says that it has
/// happened; on a failure all latches are opened, so that queues drain.
class ProcessTeamCall final : public TeamCall<cpu::Backend>,
                              public std::enable_shared_from_this<ProcessTeamCall> {
 public:
  ProcessTeamCall(Courier& courier, int process, const CallName& name, int size,
                  const TeamOptions& options);

  /// The process of each rank. Before the ranks of this process start.
  void seat(const std::vector<int>& processes);

  Event post(int rank, index_t tag, const void* data, Queue& written_on) override;
  Entry take(int source, index_t tag) override;
  void poison(int rank, std::exception_ptr failure) override;
  std::exception_ptr meet(int rank) override;
  void leave(int rank) override;
  void tell(int rank, index_t tag, const void* data) override;
  const void* hear(int source, index_t tag) override;
  bool reaches(int source) const override;
  void read(int source, Queue& queue, const ByteColumns<const std::byte>& theirs,
            const ByteColumns<std::byte>& mine) override;

  /// What another process says of its ranks.
  void receive(const Message& message, const std::string& text);
  /// The ranks of a process will not say anything any more.
  void lose(int process, const std::string& why);

 private:
  using Key = std::pair<int, index_t>;

  void tell_others(Message message, const std::string& text = {});
  // With the lock:
  void fail(int rank, const std::string& why);
  void end_meetings();
  std::exception_ptr failure() const;

  Courier& courier_;
  const int process_;
  const CallName name_;
  std::vector<int> processes_;  // of the ranks
  std::vector<int> others_;     // processes that have ranks

  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<Key, Entry> entries_;
  std::map<Key, cpu::Latch> latches_;  // that have not been opened
  index_t posted_ = 0;
  std::map<int, std::string> failures_;       // by rank
  std::vector<index_t> met_;                  // how often each rank has come to a meeting
  std::vector<std::exception_ptr> outcomes_;  // of the meetings
};

}  // namespace jaxmg::processes
