// On GPUs each device's launch thread runs its rank itself: it waits here for the others.
#pragma once

#include <future>
#include <memory>

#include "call.hpp"
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

/// Blocks until all ranks of the call are here, of whichever processes; throws what keeps it from
/// starting. The call is over for this rank when the team is let go.
std::shared_ptr<CudaTeam> meet(const CallSite& site, int device, std::string call,
                               std::exception_ptr failure);

/// After a call that has returned: what happens to its results, ready on `stream`, should another
/// process of its team end before they are there.
void guard_results(const CudaTeam& team, const std::string& call, cudaStream_t stream,
                   const std::vector<xf::AnyBuffer>& outputs);

}  // namespace jaxmg::ffi
