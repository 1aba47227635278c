// What the handlers on CPUs share: how a device joins its call.
#pragma once

#include "call.hpp"
#include "job.hpp"

namespace jaxmg::ffi {

/// For tests: the next call's `rank` fails in the middle, its peers being at work. -1: none.
void inject_fault(int rank);

/// Where a device was called; reads `rank` and `group`: the group's number, and, where the ranks
/// may be in several processes, the two halves of the call's ticket.
CallSite call_site(xf::RunId run, const CallAttributes& attributes, const xf::AnyBuffer& rank,
                   const xf::AnyBuffer& group);

/// Fulfils `promise`.
std::function<void(const std::exception_ptr&)> telling(std::shared_ptr<xf::Promise> promise);

/// Joins the call. The future completes when this rank is done, on the rank's own thread. If
/// `make_program` throws, the whole call fails with that on every rank.
xf::Future join(const CallSite& site, std::string text,
                const std::function<RankProgram<cpu::Backend>()>& make_program);

template <RoutineCall Call>
xf::Future join(const CallSite& site, const Call& call) {
  return join(site, call.text(), [&] { return program_of<cpu::Backend>(call); });
}

/// Runs a handler's body; what it throws before it could join becomes a failed future.
template <class Body>
xf::Future guarded(Body body) {
  try {
    return body();
  } catch (...) {
    xf::Promise promise;
    xf::Future future(promise);
    promise.SetError(to_ffi_error(std::current_exception()));
    return future;
  }
}

/// What a handler on CPUs is given; its operands begin with rank and group.
template <std::size_t operands, std::size_t results>
auto bind() {
  return bind_buffers<operands, results>(xf::Ffi::Bind().Ctx<xf::RunId>().Attrs<CallAttributes>());
}

}  // namespace jaxmg::ffi
