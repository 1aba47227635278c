// The handler of jaxmg.potrs on CPUs.
#include "potrs_call.hpp"

namespace jaxmg::ffi {
namespace {

xf::Future potrs(xf::RunId run, CallAttributes attributes, xf::AnyBuffer rank, xf::AnyBuffer group,
                 xf::AnyBuffer a, xf::AnyBuffer b, xf::Result<xf::AnyBuffer> x,
                 xf::Result<xf::AnyBuffer> logdet, xf::Result<xf::AnyBuffer> info,
                 xf::Result<xf::AnyBuffer> workspace, xf::Result<xf::AnyBuffer> work) {
  return guarded([&] {
    const CallSite site = call_site(run, attributes, rank, group);
    const PotrsBuffers buffers{a, b, *x, *logdet, *info, *workspace, *work};
    const CholeskyProblem problem = problem_of(Platform::cpu, site, attributes, buffers);
    return join(site, describe_potrs(problem, buffers), [&] {
      return visit(dtype_of(a, "a"), [&]<class T>() {
        return potrs_rank_program<cpu::Backend, T>(problem, buffers,
                                                   TeamOptions{}.reads_peers_directly);
      });
    });
  });
}

}  // namespace

/// Operands: rank, group, a, b. Results: x, logdet, info, workspace, work.
XLA_FFI_DEFINE_HANDLER_SYMBOL(jaxmg_potrs_cpu, potrs,
                              xf::Ffi::Bind()
                                  .Ctx<xf::RunId>()
                                  .Attrs<CallAttributes>()
                                  .Arg<xf::AnyBuffer>()    // rank
                                  .Arg<xf::AnyBuffer>()    // group
                                  .Arg<xf::AnyBuffer>()    // a
                                  .Arg<xf::AnyBuffer>()    // b
                                  .Ret<xf::AnyBuffer>()    // x
                                  .Ret<xf::AnyBuffer>()    // logdet
                                  .Ret<xf::AnyBuffer>()    // info
                                  .Ret<xf::AnyBuffer>()    // workspace
                                  .Ret<xf::AnyBuffer>());  // work

}  // namespace jaxmg::ffi
