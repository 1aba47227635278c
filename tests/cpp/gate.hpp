// Holds a worker, or a rank, until the test lets it go.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>

namespace jaxmg::testing {

/// Copies are the same gate, and may outlive the test in a task.
class Gate {
 public:
  void open() const {
    const std::lock_guard lock(state_->mutex);
    state_->is_open = true;
    state_->changed.notify_all();
  }
  void pass() const {
    std::unique_lock lock(state_->mutex);
    state_->changed.wait(lock, [this] { return state_->is_open; });
  }

 private:
  struct State {
    std::mutex mutex;
    std::condition_variable changed;
    bool is_open = false;
  };
  std::shared_ptr<State> state_ = std::make_shared<State>();
};

}  // namespace jaxmg::testing
