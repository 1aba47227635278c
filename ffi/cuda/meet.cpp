#include "cuda/meet.hpp"

#include "team/rendezvous_impl.hpp"

namespace jaxmg::ffi {

void start(std::vector<WaitingThread> threads) {
  TeamOptions options;
  options.reads_peers_directly = false;
  const auto team =
      std::make_shared<LocalTeamCall<cuda::Backend>>(static_cast<int>(threads.size()), options);
  for (WaitingThread& thread : threads) thread.team->set_value(team);
}

std::shared_ptr<CudaTeam> meet(const CallKey& key, int rank, int size, std::string call,
                               std::exception_ptr failure) {
  const auto promise = std::make_shared<std::promise<std::shared_ptr<CudaTeam>>>();
  auto team = promise->get_future();
  WaitingThread thread{
      promise, [promise](const std::exception_ptr& refused) { promise->set_exception(refused); }};
  arrive(key, Arrival<WaitingThread>{rank, size, std::move(call), std::move(thread),
                                     std::move(failure)});
  return team.get();
}

}  // namespace jaxmg::ffi
