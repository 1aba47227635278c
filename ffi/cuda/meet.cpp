#include "cuda/meet.hpp"

#include "cuda/seat.hpp"
#include "job.hpp"
#include "team/cuda/device_team.hpp"
#include "team/rendezvous_impl.hpp"

namespace jaxmg::ffi {

void start(std::vector<WaitingThread> threads) {
  TeamOptions options;
  options.reads_peers_directly = false;
  const auto team =
      std::make_shared<LocalTeamCall<cuda::Backend>>(static_cast<int>(threads.size()), options);
  for (WaitingThread& thread : threads) thread.team->set_value(team);
}

namespace {

using TeamPromise = std::promise<std::shared_ptr<CudaTeam>>;

/// On GPUs each device's thread comes to the calls of programs in their order, in all processes.
void arrive_with_other_processes(const CallSite& site, int device, std::string call,
                                 std::exception_ptr failure,
                                 const std::shared_ptr<TeamPromise>& promise) {
  processes::Exchange& others = exchange();
  processes::SpreadTask task;
  try {
    task.place = static_cast<cuda::DeviceLink&>(others.link()).open(device);
  } catch (...) {
    if (!failure) failure = std::current_exception();
  }
  task.start = [promise](const std::shared_ptr<processes::Member>& member,
                         const std::function<void()>& ended) {
    const auto team = std::static_pointer_cast<cuda::DeviceTeamCall>(member);
    promise->set_value(
        std::shared_ptr<CudaTeam>(team.get(), [team, ended](CudaTeam*) { ended(); }));
  };
  task.done = [promise](const std::exception_ptr& refused) { promise->set_exception(refused); };
  processes::Visit visit{site.key, 0};
  visit.in_order = true;
  others.arrive(visit,
                {site.rank, site.size, std::move(call), std::move(task), std::move(failure)});
}

}  // namespace

std::unique_ptr<processes::Exchange> make_exchange(const JobAnswer& answer) {
  return std::make_unique<processes::Exchange>(
      processes::Identity{std::string(answer.name) + "-gpu", answer.process, answer.processes},
      cuda::DeviceLink::make(answer.devices - answer.local_devices, cuda::chosen_sharing()),
      network_of(answer));
}

std::shared_ptr<CudaTeam> meet(const CallSite& site, int device, std::string call,
                               std::exception_ptr failure) {
  const auto promise = std::make_shared<TeamPromise>();
  auto team = promise->get_future();
  if (is_spread(site)) {
    arrive_with_other_processes(site, device, std::move(call), std::move(failure), promise);
    return team.get();
  }
  WaitingThread thread{
      promise, [promise](const std::exception_ptr& refused) { promise->set_exception(refused); }};
  arrive(site.key, Arrival<WaitingThread>{site.rank, site.size, std::move(call), std::move(thread),
                                          std::move(failure)});
  return team.get();
}

void guard_results(const CudaTeam& team, const std::string& call, cudaStream_t stream,
                   const std::vector<xf::AnyBuffer>& outputs) {
  const auto* const spread = dynamic_cast<const cuda::DeviceTeamCall*>(&team);
  if (spread == nullptr) return;
  spoil_if_any(stream, spread->gone_flags(), outputs);
  spread->watch(call, cuda::Event::record(stream));
}

}  // namespace jaxmg::ffi
