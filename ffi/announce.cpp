// The handler behind calls whose ranks may be in several processes: it gives the call its ticket,
// and waits, if asked to, until all ranks have announced such a call.
#include "join.hpp"
#include "team/processes/process_team.hpp"

namespace jaxmg::ffi {
namespace {

/// The ranks of calls alike may be announced in any order, so which call a rank announces does not
/// matter here. Rank 0's result is a new ticket and all others' are zero: their sum, which XLA
/// forms, tells the ranks of one call which call they belong to. `operands` are read by nobody:
/// they are the call's, so that two calls cannot be taken for one.
xf::Future announce(xf::RunId run, CallAttributes attributes, xf::AnyBuffer rank,
                    xf::AnyBuffer group, xf::RemainingArgs, xf::Result<xf::AnyBuffer> ticket) {
  return guarded([&] {
    const CallSite site = call_site(run, attributes, rank, group);
    auto* const halves = ticket->typed_data<std::int32_t>();
    halves[0] = halves[1] = 0;
    if (site.rank == 0) new_ticket(halves);
    const auto promise = std::make_shared<xf::Promise>();
    xf::Future future(*promise);
    if (!is_in_a_job() || attributes.integer("waits") == 0) {
      promise->SetAvailable();
      return future;
    }
    const auto text = attributes.get<std::string_view>("call");
    Arrival<RankTask> arrival{
        site.rank, site.size, std::string(text.has_value() ? *text : "a call"), {}, nullptr};
    arrival.task.done = telling(promise);
    exchange().arrive({site.key, 0, true}, processes::spread(std::move(arrival)));
    return future;
  });
}

xf::Error instantiate(xf::RemainingArgs, xf::RemainingRets, xf::Dictionary) {
  learn_job();
  return xf::Error::Success();
}

}  // namespace

/// Operands: rank, group, any others. Result: the two halves of a ticket, or zeros.
XLA_FFI_DEFINE_HANDLER_SYMBOL(jaxmg_announce_cpu, announce,
                              xf::Ffi::Bind()
                                  .Ctx<xf::RunId>()
                                  .Attrs<CallAttributes>()
                                  .Arg<xf::AnyBuffer>()
                                  .Arg<xf::AnyBuffer>()
                                  .RemainingArgs()
                                  .Ret<xf::AnyBuffer>());

/// Every handler's first stage: where a program was traced by another process, nobody has told this
/// library yet whether it is alone.
XLA_FFI_DEFINE_HANDLER_SYMBOL(
    jaxmg_instantiate_cpu, instantiate,
    xf::Ffi::BindInstantiate().RemainingArgs().RemainingRets().Attrs<xf::Dictionary>());

}  // namespace jaxmg::ffi
