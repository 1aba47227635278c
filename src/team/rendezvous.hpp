// How the ranks of one call find each other when each enters on its own, in any order.
#pragma once

#include <compare>
#include <cstdint>
#include <string>

#include "team/jobs.hpp"

namespace jaxmg {

/// Tells one call of a running program from all others. `instance` tells call sites apart (an
/// address that is equal on all devices and distinct per call); a call site that is entered
/// again, in a loop, is told apart by counting.
struct CallKey {
  std::int64_t run;
  std::uintptr_t instance;
  std::int64_t group;
  auto operator<=>(const CallKey&) const = default;
};

/// One rank that has come. `Task` has a member `done`, told if the call fails before it starts, and
/// a function `start(std::vector<Task>)` for the tasks of all ranks, found by its argument.
template <class Task>
struct Arrival {
  int rank;
  int size;
  /// What the call is, for messages and to check that all came for the same: routine, dtype, sizes.
  std::string call;
  Task task;
  /// Set if this rank cannot take part: then the call fails on all ranks with this cause.
  std::exception_ptr failure;
};

/// Adds a rank to its call and returns at once. When all are there the job is submitted. A call
/// fails, on every rank that has come or comes later, if a rank brings a failure, if ranks do not
/// agree on what the call is, or if not all come in time: after JAXMG_TIMEOUT seconds from the
/// first (600 by default); after 10 s the missing ones are named on stderr.
template <class Task>
void arrive(const CallKey& key, Arrival<Task> arrival);

}  // namespace jaxmg
