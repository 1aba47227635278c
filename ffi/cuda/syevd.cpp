// The handler of jaxmg.syevd on NVIDIA GPUs.
#include "cuda/launch.hpp"
#include "syevd_call.hpp"

namespace jaxmg::ffi {
namespace {

xf::Error syevd(cudaStream_t stream, std::int32_t device, xf::RunId run,
                xf::ScratchAllocator scratch, CallAttributes attributes, xf::AnyBuffer rank,
                xf::AnyBuffer group, xf::AnyBuffer a, xf::Result<xf::AnyBuffer> w,
                xf::Result<xf::AnyBuffer> v, xf::Result<xf::AnyBuffer> info,
                xf::Result<xf::AnyBuffer> workspace, xf::Result<xf::AnyBuffer> work) {
  return launch({stream, device, run, attributes, rank, group}, [&](int ranks) {
    return SyevdCall(Platform::cuda, ranks, attributes, {a, *w, *v, *info, *workspace, *work},
                     team_solver_seat(device, scratch));
  });
}

}  // namespace

/// Operands: rank, group, a. Results: w, v, info, workspace, work.
XLA_FFI_DEFINE_HANDLER_SYMBOL(jaxmg_syevd_cuda, syevd, (bind_with_scratch<3, 5>()));

}  // namespace jaxmg::ffi
