// The ranks of one call on CPUs of several processes.
#pragma once

#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "device/cpu/backend.hpp"
#include "team/jobs.hpp"
#include "team/processes/spread_team.hpp"
#include "team/rendezvous.hpp"

namespace jaxmg::processes {

/// Reads the memory of other processes. Lives as long as this one.
class Fetcher {
 public:
  virtual ~Fetcher() = default;
  /// Copies what `request` says from the memory of `process`, then opens `done`: also if the
  /// process ends, when nothing useful has been copied.
  virtual void fetch(int process, const Message& request, const ByteColumns<std::byte>& mine,
                     const cpu::Latch& done) = 0;
};

/// An event of another process is here a latch, opened when that process says that it has happened;
/// on a failure all latches are opened, so that queues drain.
class ProcessTeamCall final : public SpreadTeamCall<cpu::Backend>,
                              public std::enable_shared_from_this<ProcessTeamCall> {
 public:
  ProcessTeamCall(Courier& courier, Fetcher& fetcher, int process, const CallName& name, int size);

  void read(int rank, int source, Queue& queue, const ByteColumns<const std::byte>& theirs,
            const ByteColumns<std::byte>& mine) override;

 protected:
  void told(const Message& post, const Event& written) override;
  Event arrived(const Message& post, bool has_failed) override;
  void happened(const Message& message) override;
  void release() override;

 private:
  Fetcher& fetcher_;
  std::map<std::pair<int, index_t>, cpu::Latch> latches_;  // by rank and tag, not opened yet
};

/// A CPU rank that comes to a call whose ranks may be in several processes.
Arrival<SpreadTask> spread(Arrival<RankTask> arrival);

}  // namespace jaxmg::processes
