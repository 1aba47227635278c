// The handler of jaxmg.cyclic_1d on CPUs.
#include "cyclic_call.hpp"
#include "join.hpp"

namespace jaxmg::ffi {
namespace {

xf::Future cyclic(xf::RunId run, CallAttributes attributes, xf::AnyBuffer rank, xf::AnyBuffer group,
                  xf::AnyBuffer a, xf::Result<xf::AnyBuffer> cyclic) {
  return guarded([&] {
    const CallSite site = call_site(run, attributes, rank, group);
    return join(site, CyclicCall(site.size, attributes, a, *cyclic));
  });
}

}  // namespace

/// Operands: rank, group, a. Results: the rows of a in the cyclic layout.
XLA_FFI_DEFINE_HANDLER_SYMBOL(jaxmg_cyclic_cpu, cyclic, (bind<3, 1>()));

}  // namespace jaxmg::ffi
