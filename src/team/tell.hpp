// Telling ranks that their call has failed.
#pragma once

#include <exception>
#include <system_error>
#include <thread>
#include <vector>

namespace jaxmg {

/// Calls `done` of each task with `failure`, on a thread of its own: it may go on with anything,
/// for as long as it likes. Where no thread is to be had, on this one.
template <class Task>
void tell_each(const std::vector<Task>& tasks, const std::exception_ptr& failure) {
  for (const Task& task : tasks) {
    try {
      std::thread([done = task.done, failure] { done(failure); }).detach();
    } catch (const std::system_error&) {
      task.done(failure);
    }
  }
}

}  // namespace jaxmg
