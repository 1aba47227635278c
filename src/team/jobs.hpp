// Whole calls on the CPU: P rank threads each, first come first served, few at once.
#pragma once

#include <exception>
#include <functional>
#include <memory>
#include <vector>

#include "device/cpu/backend.hpp"
#include "team/rank.hpp"

namespace jaxmg {

/// One rank of a job.
struct RankTask {
  RankProgram<cpu::Backend> program;
  /// Told the outcome as the last act of the rank's thread, which then holds nothing: it may run
  /// whatever the caller likes, further calls included.
  std::function<void(const std::exception_ptr& failure)> done;
};

/// A rank of a job, and which one.
struct SeatedTask {
  int index;
  RankTask task;
};

/// Starts those ranks of a call that are in this process, all others being in other processes. Such
/// calls do not queue: two processes could then wait for each other's second call for ever.
void start_ranks(std::shared_ptr<TeamCall<cpu::Backend>> team, std::vector<SeatedTask> ranks);

/// Starts the job, or queues it behind those before. Returns at once.
void submit(std::vector<RankTask> ranks, const TeamOptions& options);

/// Submits a job of ranks that have met; see rendezvous.hpp.
inline void start(std::vector<RankTask> ranks) { submit(std::move(ranks), TeamOptions{}); }

/// Runs `program` on `size` ranks and waits; throws what failed.
void run_team(int size, const RankProgram<cpu::Backend>& program, const TeamOptions& options);

}  // namespace jaxmg
