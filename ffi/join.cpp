#include "join.hpp"

#include <atomic>
#include <memory>

#include "team/processes/ring_link.hpp"

namespace jaxmg::ffi {
namespace {

std::atomic<int> faulty_rank{-1};

/// `program`, or one that fails if a fault has been injected for `rank`.
RankProgram<cpu::Backend> with_injected_fault(int rank, RankProgram<cpu::Backend> program) {
  int expected = rank;
  if (!faulty_rank.compare_exchange_strong(expected, -1)) return program;
  return [](Rank<cpu::Backend>& self) {
    self.panel().enqueue([] { throw Error("injected fault"); });
    self.synchronize();
  };
}

const std::int32_t* integers(const xf::AnyBuffer& buffer, const char* name) {
  const auto count = buffer.element_count();
  if (buffer.element_type() != xf::DataType::S32 || (count != 1 && count != 3)) {
    throw InvalidArgument(std::string(name) + ": expected one int32, or three");
  }
  return buffer.typed_data<std::int32_t>();
}

}  // namespace

void inject_fault(int rank) { faulty_rank = rank; }

std::unique_ptr<processes::Exchange> make_exchange(const JobAnswer& answer) {
  return std::make_unique<processes::Exchange>(
      processes::Identity{answer.name, answer.process, answer.processes}, processes::RingLink::make,
      network_of(answer));
}

CallSite call_site(xf::RunId run, const CallAttributes& attributes, const xf::AnyBuffer& rank,
                   const xf::AnyBuffer& group) {
  const std::int32_t* const group_and_ticket = integers(group, "group");
  CallSite site =
      call_site(run, attributes, *integers(rank, "rank"), *group_and_ticket, Platform::cpu);
  if (group.element_count() == 3) site.ticket = ticket_of(group_and_ticket + 1);
  if (is_spread(site)) site.platform = Platform::cpu_processes;
  return site;
}

std::function<void(const std::exception_ptr&)> telling(std::shared_ptr<xf::Promise> promise) {
  return [promise = std::move(promise)](const std::exception_ptr& failure) {
    if (failure) {
      promise->SetError(to_ffi_error(failure));
    } else {
      promise->SetAvailable();
    }
  };
}

xf::Future join(const CallSite& site, std::string text,
                const std::function<RankProgram<cpu::Backend>()>& make_program) {
  const auto promise = std::make_shared<xf::Promise>();
  xf::Future future(*promise);
  Arrival<RankTask> arrival{site.rank, site.size, std::move(text), {}, nullptr};
  try {
    arrival.task.program = with_injected_fault(site.rank, make_program());
  } catch (...) {
    arrival.failure = std::current_exception();
  }
  arrival.task.done = telling(promise);
  if (site.platform == Platform::cpu_processes) {
    exchange().arrive({site.key, site.ticket}, processes::spread(std::move(arrival)));
  } else {
    arrive(site.key, std::move(arrival));
  }
  return future;
}

}  // namespace jaxmg::ffi
