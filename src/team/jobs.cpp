#include "team/jobs.hpp"

#include <atomic>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>

#include "device/cpu/blas.hpp"

namespace jaxmg {
namespace {

struct Job {
  Job(std::vector<RankTask> ranks_, const TeamOptions& options)
      : team(static_cast<int>(ranks_.size()), options),
        ranks(std::move(ranks_)),
        running(static_cast<int>(ranks.size())) {}

  TeamCall<cpu::Backend> team;
  std::vector<RankTask> ranks;
  std::atomic<int> running;
};

/// Enough to fill the gaps that one job leaves, few enough to bound threads and memory in use.
constexpr int jobs_at_once = 2;

/// Never destroyed: rank threads may outlive main().
class Scheduler {
 public:
  static Scheduler& instance() {
    static Scheduler* const scheduler = new Scheduler;
    return *scheduler;
  }

  void submit(std::shared_ptr<Job> job) {
    {
      std::unique_lock lock(mutex_);
      if (running_ == jobs_at_once) {
        waiting_.push_back(std::move(job));
        return;
      }
      ++running_;
    }
    start(job);
  }

 private:
  void start(const std::shared_ptr<Job>& job) {
    for (int index = 0; index < job->team.size; ++index) {
      try {
        std::thread([this, job, index] { run(job, index); }).detach();
      } catch (const std::system_error&) {
        job->team.mailbox.poison(index, std::current_exception());
        finish_unstarted(job, index);
        return;
      }
    }
  }

  /// Out of threads: the ranks from `first` on have none. This thread meets the others for them,
  /// as often as run_rank() does after a failure.
  void finish_unstarted(const std::shared_ptr<Job>& job, int first) {
    std::exception_ptr failure;
    for (int round = 0; round < 2; ++round) {
      for (int index = first + 1; index < job->team.size; ++index) job->team.mailbox.leave();
      failure = job->team.mailbox.meet();
    }
    for (int index = first; index < job->team.size; ++index) finish(*job, index, failure);
  }

  void run(const std::shared_ptr<Job>& job, int index) {
    const RankTask& rank = job->ranks[static_cast<std::size_t>(index)];
    cpu::Device device;
    finish(*job, index, run_rank(job->team, index, device, rank.program));
  }

  void finish(Job& job, int index, const std::exception_ptr& failure) {
    RankTask& rank = job.ranks[static_cast<std::size_t>(index)];
    rank.program = nullptr;
    const auto done = std::move(rank.done);
    if (--job.running == 0) start_next();
    done(failure);
  }

  void start_next() {
    std::shared_ptr<Job> next;
    {
      std::unique_lock lock(mutex_);
      if (waiting_.empty()) {
        --running_;
        return;
      }
      next = std::move(waiting_.front());
      waiting_.pop_front();
    }
    start(next);
  }

  std::mutex mutex_;
  std::deque<std::shared_ptr<Job>> waiting_;
  int running_ = 0;
};

void adjust_permits() {
  const int cores = static_cast<int>(std::thread::hardware_concurrency());
  cpu::set_permits(cores / std::max(1, cpu::blas_threads()));
}

}  // namespace

void submit(std::vector<RankTask> ranks, const TeamOptions& options) {
  adjust_permits();
  Scheduler::instance().submit(std::make_shared<Job>(std::move(ranks), options));
}

void run_team(int size, const RankProgram<cpu::Backend>& program, const TeamOptions& options) {
  struct Outcome {
    std::mutex mutex;
    std::condition_variable changed;
    int left;
    std::exception_ptr failure;
  };
  const auto outcome = std::make_shared<Outcome>();
  outcome->left = size;
  std::vector<RankTask> ranks(static_cast<std::size_t>(size));
  for (RankTask& rank : ranks) {
    rank.program = program;
    rank.done = [outcome](const std::exception_ptr& failure) {
      std::unique_lock lock(outcome->mutex);
      outcome->failure = failure;
      --outcome->left;
      outcome->changed.notify_all();
    };
  }
  submit(std::move(ranks), options);
  std::unique_lock lock(outcome->mutex);
  outcome->changed.wait(lock, [&] { return outcome->left == 0; });
  if (outcome->failure) std::rethrow_exception(outcome->failure);
}

}  // namespace jaxmg
