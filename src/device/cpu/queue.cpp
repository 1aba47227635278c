#include "device/cpu/queue.hpp"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <exception>
#include <mutex>
#include <random>
#include <thread>
#include <utility>
#include <vector>

#include <unistd.h>

#include "device/cpu/sanitizer.hpp"
#include "jaxmg/error.hpp"

namespace jaxmg::cpu {

struct EventState {
  bool happened = false;
  std::vector<std::shared_ptr<QueueState>> parked;  // queues that wait for it
};

namespace {

struct Task {
  std::function<void()> run;  // empty for the two kinds below
  std::shared_ptr<EventState> wait;
  std::shared_ptr<EventState> record;
};

}  // namespace

struct QueueState {
  enum class State { idle, parked, ready, running };

  explicit QueueState(Priority priority_) : priority(priority_) {}

  Priority priority;
  State state = State::idle;
  std::deque<Task> tasks;
  std::exception_ptr error;
  Fiber fiber;
};

namespace {

/// The process's worker threads. One lock guards all queues and events: tasks are tile operations,
/// so it is taken some thousand times a second. Never destroyed: workers may outlive main().
class Executor {
 public:
  static Executor& instance() {
    static Executor* const executor = new Executor;
    if (executor->process_ != getpid()) {
      throw Error(
          "jaxmg was used in this process's parent before the fork, and its threads do not exist "
          "here; start processes with the 'spawn' method instead of 'fork'");
    }
    return *executor;
  }

  void enqueue(const std::shared_ptr<QueueState>& queue, Task task) {
    std::unique_lock lock(mutex_);
    queue->tasks.push_back(std::move(task));
    if (queue->state == QueueState::State::idle) advance(queue);
  }

  void synchronize(const EventState& event) {
    std::unique_lock lock(mutex_);
    happened_.wait(lock, [&] { return event.happened; });
  }

  bool happens_within(const EventState& event, std::chrono::milliseconds time) {
    std::unique_lock lock(mutex_);
    return happened_.wait_for(lock, time, [&] { return event.happened; });
  }

  /// Wakes whoever waits for the event.
  void open(EventState& event) {
    std::unique_lock lock(mutex_);
    if (event.happened) return;
    release(&event);
    std::vector<std::shared_ptr<QueueState>> woken;
    wake(event, woken);
    for (auto& queue : woken) advance(std::move(queue));
  }

  std::exception_ptr take_error(QueueState& queue) {
    std::unique_lock lock(mutex_);
    return std::exchange(queue.error, nullptr);
  }

  void set_permits(int permits) {
    std::unique_lock lock(mutex_);
    permits_ = std::max(1, permits);
    while (static_cast<int>(workers_) < permits_) {
      std::thread([this] { work(); }).detach();
      ++workers_;
    }
    work_.notify_all();
  }

  void set_chaos(Chaos chaos) {
    std::unique_lock lock(mutex_);
    chaos_ = chaos;
    random_.seed(chaos.seed);
  }

 private:
  Executor() : process_(getpid()) {}

  // All of the following hold the lock.

  /// Handles waits and records at the head of `queue`, and of the queues that this wakes, up to
  /// the next task or an event that has not happened.
  void advance(std::shared_ptr<QueueState> queue) {
    std::vector<std::shared_ptr<QueueState>> todo{std::move(queue)};
    while (!todo.empty()) {
      const std::shared_ptr<QueueState> q = std::move(todo.back());
      todo.pop_back();
      q->state = QueueState::State::idle;
      while (!q->tasks.empty() && q->state == QueueState::State::idle) {
        Task& head = q->tasks.front();
        if (head.run) {
          q->state = QueueState::State::ready;
          ready_[static_cast<int>(q->priority)].push_back(q);
          work_.notify_one();
        } else if (head.wait && !head.wait->happened) {
          q->state = QueueState::State::parked;
          head.wait->parked.push_back(q);
        } else {
          if (head.record) happen(*q, *head.record, todo);
          if (head.wait) {
            const OnFiber on_fiber(q->fiber);
            acquire(head.wait.get());
          }
          q->tasks.pop_front();
        }
      }
    }
  }

  void happen(QueueState& queue, EventState& event,
              std::vector<std::shared_ptr<QueueState>>& woken) {
    {
      const OnFiber on_fiber(queue.fiber);
      release(&event);
    }
    wake(event, woken);
  }

  void wake(EventState& event, std::vector<std::shared_ptr<QueueState>>& woken) {
    event.happened = true;
    for (auto& parked : event.parked) woken.push_back(std::move(parked));
    event.parked.clear();
    happened_.notify_all();
  }

  std::shared_ptr<QueueState> take_ready() {
    auto& from = ready_[static_cast<int>(Priority::high)].empty()
                     ? ready_[static_cast<int>(Priority::normal)]
                     : ready_[static_cast<int>(Priority::high)];
    const std::size_t at = chaos_.seed == 0 ? 0 : random_() % from.size();
    std::shared_ptr<QueueState> queue = std::move(from[at]);
    from.erase(from.begin() + static_cast<std::ptrdiff_t>(at));
    return queue;
  }

  unsigned chaos_delay() {
    return chaos_.seed == 0 ? 0 : static_cast<unsigned>(random_()) % (chaos_.max_delay_us + 1);
  }

  bool may_work() const { return running_ < permits_ && !(ready_[0].empty() && ready_[1].empty()); }

  void work() {
    std::unique_lock lock(mutex_);
    while (true) {
      work_.wait(lock, [this] { return may_work(); });
      std::shared_ptr<QueueState> queue = take_ready();
      queue->state = QueueState::State::running;
      Task task = std::move(queue->tasks.front());
      queue->tasks.pop_front();
      const bool skip = queue->error != nullptr;
      const unsigned delay = chaos_delay();
      ++running_;
      lock.unlock();

      std::exception_ptr error = run(*queue, task, skip, delay);

      lock.lock();
      --running_;
      if (error && !queue->error) queue->error = std::move(error);
      advance(std::move(queue));
      if (may_work()) work_.notify_one();  // a permit is free, and this worker takes one task only
    }
  }

  static std::exception_ptr run(QueueState& queue, Task& task, bool skip, unsigned delay) {
    if (delay != 0) std::this_thread::sleep_for(std::chrono::microseconds(delay));
    const OnFiber on_fiber(queue.fiber);
    acquire(&queue);
    std::exception_ptr error;
    try {
      if (!skip) task.run();
    } catch (...) {
      error = std::current_exception();
    }
    task.run = nullptr;  // its captures go before the queue is seen to be done
    return error;
  }

  std::mutex mutex_;
  std::condition_variable work_;
  std::condition_variable happened_;
  std::deque<std::shared_ptr<QueueState>> ready_[2];
  std::mt19937 random_;
  Chaos chaos_;
  int permits_ = 0;
  int workers_ = 0;
  int running_ = 0;
  pid_t process_;
};

}  // namespace

void Event::synchronize() const {
  if (!state_) return;
  Executor::instance().synchronize(*state_);
  acquire(state_.get());
}

bool Event::happens_within(std::chrono::milliseconds time) const {
  if (!state_) return true;
  if (!Executor::instance().happens_within(*state_, time)) return false;
  acquire(state_.get());
  return true;
}

Latch::Latch() : state_(std::make_shared<EventState>()) {}

void Latch::open() const { Executor::instance().open(*state_); }

void after(const Event& event, std::function<void()> task) {
  Queue queue(Priority::high);
  queue.wait(event);
  queue.enqueue(std::move(task));
}

Queue::Queue(Priority priority, SignOfLife sign)
    : state_(std::make_shared<QueueState>(priority)), sign_(std::move(sign)) {}

Queue::~Queue() = default;

void Queue::enqueue(std::function<void()> task) {
  release(state_.get());
  Executor::instance().enqueue(state_, {std::move(task), nullptr, nullptr});
}

void Queue::wait(const Event& event) {
  if (event.state_) Executor::instance().enqueue(state_, {nullptr, event.state_, nullptr});
}

Event Queue::record() {
  auto event = std::make_shared<EventState>();
  Executor::instance().enqueue(state_, {nullptr, nullptr, event});
  return Event(std::move(event));
}

void Queue::synchronize() {
  const Event end = record();
  if (sign_.say) {
    while (!end.happens_within(sign_.interval)) sign_.say();
  }
  end.synchronize();
  if (std::exception_ptr error = Executor::instance().take_error(*state_)) {
    std::rethrow_exception(std::move(error));
  }
}

void set_chaos(Chaos chaos) { Executor::instance().set_chaos(chaos); }
void check_process() { Executor::instance(); }
void set_permits(int permits) { Executor::instance().set_permits(permits); }

}  // namespace jaxmg::cpu
