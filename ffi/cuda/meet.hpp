// On GPUs each device's launch thread runs its rank itself: it waits here for the others.
#pragma once

#include <future>
#include <memory>

#include "device/cuda/backend.hpp"
#include "team/rendezvous.hpp"

namespace jaxmg::ffi {

using CudaTeam = TeamCall<cuda::Backend>;

/// A launch thread that waits for its team.
struct WaitingThread {
  std::shared_ptr<std::promise<std::shared_ptr<CudaTeam>>> team;
  std::function<void(const std::exception_ptr&)> done;
};

/// Hands all of them their team.
void start(std::vector<WaitingThread> threads);

/// Blocks until all ranks of the call are here; throws what keeps it from starting.
std::shared_ptr<CudaTeam> meet(const CallKey& key, int rank, int size, std::string call,
                               std::exception_ptr failure);

}  // namespace jaxmg::ffi
