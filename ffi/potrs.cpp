// The handler of jaxmg.potrs on CPUs.
#include "join.hpp"
#include "potrs_call.hpp"

namespace jaxmg::ffi {
namespace {

xf::Future potrs(xf::RunId run, CallAttributes attributes, xf::AnyBuffer rank, xf::AnyBuffer group,
                 xf::AnyBuffer a, xf::AnyBuffer b, xf::Result<xf::AnyBuffer> x,
                 xf::Result<xf::AnyBuffer> logdet, xf::Result<xf::AnyBuffer> info,
                 xf::Result<xf::AnyBuffer> workspace, xf::Result<xf::AnyBuffer> work) {
  return guarded([&] {
    const CallSite site = call_site(run, attributes, rank, group);
    return join(site, PotrsCall(site.platform, site.size, attributes,
                                {a, b, *x, *logdet, *info, *workspace, *work}));
  });
}

}  // namespace

/// Operands: rank, group, a, b. Results: x, logdet, info, workspace, work.
XLA_FFI_DEFINE_HANDLER_SYMBOL(jaxmg_potrs_cpu, potrs, (bind<4, 5>()));

}  // namespace jaxmg::ffi
