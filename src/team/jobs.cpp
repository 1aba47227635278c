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
  Job(std::shared_ptr<TeamCall<cpu::Backend>> team_, std::vector<SeatedTask> ranks_, bool queues_)
      : team(std::move(team_)),
        ranks(std::move(ranks_)),
        queues(queues_),
        running(static_cast<int>(ranks.size())) {}

  std::shared_ptr<TeamCall<cpu::Backend>> team;
  std::vector<SeatedTask> ranks;  // of this process
  bool queues;                    // first come first served
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

  void start(const std::shared_ptr<Job>& job) {
    for (std::size_t i = 0; i < job->ranks.size(); ++i) {
      try {
        std::thread([this, job, i] { run(job, i); }).detach();
      } catch (const std::system_error&) {
        finish_unstarted(*job, i, std::current_exception());
        return;
      }
    }
  }

 private:
  /// Out of threads: the ranks from `first` on have none. The others meet without them, as often as
  /// run_rank() does after a failure. They themselves need not wait: nobody reads their memory,
  /// since they have posted nothing, and this may be the thread that the others' messages come to.
  void finish_unstarted(Job& job, std::size_t first, const std::exception_ptr& why) {
    const int rank = job.ranks[first].index;
    job.team->poison(rank, why);
    for (std::size_t i = first; i < job.ranks.size(); ++i) {
      for (int meeting = 0; meeting < 2; ++meeting) job.team->leave(job.ranks[i].index);
    }
    const auto failure = std::make_exception_ptr(TeamError(rank, job.team->size, message_of(why)));
    for (std::size_t i = first; i < job.ranks.size(); ++i) finish(job, i, failure);
  }

  void run(const std::shared_ptr<Job>& job, std::size_t i) {
    const SeatedTask& rank = job->ranks[i];
    cpu::Device device;
    finish(*job, i, run_rank(*job->team, rank.index, device, rank.task.program));
  }

  void finish(Job& job, std::size_t i, const std::exception_ptr& failure) {
    RankTask& rank = job.ranks[i].task;
    rank.program = nullptr;
    const auto done = std::move(rank.done);
    if (--job.running == 0 && job.queues) start_next();
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
  auto team =
      std::make_shared<LocalTeamCall<cpu::Backend>>(static_cast<int>(ranks.size()), options);
  std::vector<SeatedTask> seated;
  for (RankTask& rank : ranks) seated.push_back({static_cast<int>(seated.size()), std::move(rank)});
  Scheduler::instance().submit(std::make_shared<Job>(std::move(team), std::move(seated), true));
}

void start_ranks(std::shared_ptr<TeamCall<cpu::Backend>> team, std::vector<SeatedTask> ranks) {
  adjust_permits();
  Scheduler::instance().start(std::make_shared<Job>(std::move(team), std::move(ranks), false));
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
