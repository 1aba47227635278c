// The handler of jaxmg.potri on CPUs.
#include "join.hpp"
#include "potri_call.hpp"

namespace jaxmg::ffi {
namespace {

xf::Future potri(xf::RunId run, CallAttributes attributes, xf::AnyBuffer rank, xf::AnyBuffer group,
                 xf::AnyBuffer a, xf::Result<xf::AnyBuffer> x, xf::Result<xf::AnyBuffer> logdet,
                 xf::Result<xf::AnyBuffer> info, xf::Result<xf::AnyBuffer> workspace) {
  return guarded([&] {
    const CallSite site = call_site(run, attributes, rank, group);
    return join(
        site, PotriCall(site.platform, site.size, attributes, {a, *x, *logdet, *info, *workspace}));
  });
}

}  // namespace

/// Operands: rank, group, a. Results: x, logdet, info, workspace.
XLA_FFI_DEFINE_HANDLER_SYMBOL(jaxmg_potri_cpu, potri, (bind<3, 4>()));

}  // namespace jaxmg::ffi
