// The handler of jaxmg.syevd on CPUs.
#include "join.hpp"
#include "syevd_call.hpp"

namespace jaxmg::ffi {
namespace {

xf::Future syevd(xf::RunId run, CallAttributes attributes, xf::AnyBuffer rank, xf::AnyBuffer group,
                 xf::AnyBuffer a, xf::Result<xf::AnyBuffer> w, xf::Result<xf::AnyBuffer> v,
                 xf::Result<xf::AnyBuffer> info, xf::Result<xf::AnyBuffer> workspace,
                 xf::Result<xf::AnyBuffer> work) {
  return guarded([&] {
    const CallSite site = call_site(run, attributes, rank, group);
    return join(site, SyevdCall(site.platform, site.size, attributes,
                                {a, *w, *v, *info, *workspace, *work}));
  });
}

}  // namespace

/// Operands: rank, group, a. Results: w, v, info, workspace, work.
XLA_FFI_DEFINE_HANDLER_SYMBOL(jaxmg_syevd_cpu, syevd, (bind<3, 5>()));

}  // namespace jaxmg::ffi
