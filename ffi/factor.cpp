// The handlers of jaxmg.cho_factor, jaxmg.cho_solve and a factor's inverse() on CPUs.
#include "factor_call.hpp"
#include "join.hpp"

namespace jaxmg::ffi {
namespace {

xf::Future cho_factor(xf::RunId run, CallAttributes attributes, xf::AnyBuffer rank,
                      xf::AnyBuffer group, xf::AnyBuffer a, xf::Result<xf::AnyBuffer> factor,
                      xf::Result<xf::AnyBuffer> inverses, xf::Result<xf::AnyBuffer> logdet,
                      xf::Result<xf::AnyBuffer> info, xf::Result<xf::AnyBuffer> workspace) {
  return guarded([&] {
    const CallSite site = call_site(run, attributes, rank, group);
    return join(site, ChoFactorCall(site.platform, site.size, attributes,
                                    {a, *factor, *inverses, *logdet, *info, *workspace}));
  });
}

xf::Future cho_solve(xf::RunId run, CallAttributes attributes, xf::AnyBuffer rank,
                     xf::AnyBuffer group, xf::AnyBuffer factor, xf::AnyBuffer inverses,
                     xf::AnyBuffer info, xf::AnyBuffer b, xf::Result<xf::AnyBuffer> x,
                     xf::Result<xf::AnyBuffer> workspace) {
  return guarded([&] {
    const CallSite site = call_site(run, attributes, rank, group);
    return join(site, ChoSolveCall(site.platform, site.size, attributes,
                                   {factor, inverses, info, b, *x, *workspace}));
  });
}

xf::Future cho_inverse(xf::RunId run, CallAttributes attributes, xf::AnyBuffer rank,
                       xf::AnyBuffer group, xf::AnyBuffer factor, xf::AnyBuffer info,
                       xf::Result<xf::AnyBuffer> x, xf::Result<xf::AnyBuffer> workspace) {
  return guarded([&] {
    const CallSite site = call_site(run, attributes, rank, group);
    return join(
        site, ChoInverseCall(site.platform, site.size, attributes, {factor, info, *x, *workspace}));
  });
}

}  // namespace

/// Operands: rank, group, a. Results: factor, inverses, logdet, info, workspace.
XLA_FFI_DEFINE_HANDLER_SYMBOL(jaxmg_cho_factor_cpu, cho_factor, (bind<3, 5>()));

/// Operands: rank, group, factor, inverses, info, b. Results: x, workspace.
XLA_FFI_DEFINE_HANDLER_SYMBOL(jaxmg_cho_solve_cpu, cho_solve, (bind<6, 2>()));

/// Operands: rank, group, factor, info. Results: x, workspace.
XLA_FFI_DEFINE_HANDLER_SYMBOL(jaxmg_cho_inverse_cpu, cho_inverse, (bind<4, 2>()));

}  // namespace jaxmg::ffi
