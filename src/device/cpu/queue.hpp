// Asynchronous in-order queues on CPU worker threads, and the events that order them.
#pragma once

#include <functional>
#include <memory>
#include <utility>

#include "device/contract.hpp"

namespace jaxmg::cpu {

struct EventState;
struct QueueState;

/// A point in a queue's work. Cheap to copy; a default one has already happened.
class Event {
 public:
  Event() = default;

  /// Blocks the calling host thread, never a worker.
  void synchronize() const;
  /// The same, for so long at most: whether it has happened.
  bool happens_within(std::chrono::milliseconds time) const;

 private:
  friend class Queue;
  friend class Latch;
  explicit Event(std::shared_ptr<EventState> state) : state_(std::move(state)) {}
  std::shared_ptr<EventState> state_;
};

/// An event that the host makes happen, and not a queue.
class Latch {
 public:
  Latch();
  Event event() const { return Event(state_); }
  /// Once or more often.
  void open() const;

 private:
  std::shared_ptr<EventState> state_;
};

/// Runs `task` on a worker once `event` has happened, also where the event's queue has failed.
void after(const Event& event, std::function<void()> task);

/// The cores are shared by all ranks: a rank's part of them has no state.
class Device {
 public:
  void follow(const Event& event) { event.synchronize(); }
};

/// Runs its tasks one after the other, on any worker. A task that throws stops the queue: what
/// follows is skipped, events still happen, and synchronize() throws what the task threw.
class Queue {
 public:
  explicit Queue(Priority priority, SignOfLife sign = {});
  Queue(Device&, Priority priority, SignOfLife sign = {}) : Queue(priority, std::move(sign)) {}
  ~Queue();
  Queue(const Queue&) = delete;
  Queue& operator=(const Queue&) = delete;

  void enqueue(std::function<void()> task);
  /// What is enqueued from now on starts after `event`.
  void wait(const Event& event);
  /// An event that happens when all that was enqueued so far is done.
  Event record();
  /// Blocks the host until the queue is empty; throws the first error of its tasks.
  void synchronize();

 private:
  std::shared_ptr<QueueState> state_;
  SignOfLife sign_;
};

/// Random scheduling for tests: ready queues are taken in random order and each task is delayed by
/// up to `max_delay_us`. Seed 0 switches it off.
struct Chaos {
  unsigned seed = 0;
  unsigned max_delay_us = 0;
};
void set_chaos(Chaos chaos);

/// Throws Error in a forked child of a process that has used jaxmg: its threads are not there.
void check_process();

/// How many tile operations may run at once. By default cores / BLAS threads, at least one, looked
/// up anew for every job, since the user may change the BLAS thread count at any time.
void set_permits(int permits);

}  // namespace jaxmg::cpu
