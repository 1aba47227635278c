// The handler of jaxmg.potrs on NVIDIA GPUs.
#include "cuda/launch.hpp"
#include "potrs_call.hpp"

namespace jaxmg::ffi {
namespace {

xf::Error potrs(cudaStream_t stream, std::int32_t device, xf::RunId run,
                xf::ScratchAllocator scratch, CallAttributes attributes, xf::AnyBuffer rank,
                xf::AnyBuffer group, xf::AnyBuffer a, xf::AnyBuffer b, xf::Result<xf::AnyBuffer> x,
                xf::Result<xf::AnyBuffer> logdet, xf::Result<xf::AnyBuffer> info,
                xf::Result<xf::AnyBuffer> workspace, xf::Result<xf::AnyBuffer> work) {
  return launch({stream, device, run, attributes, rank, group}, [&](int ranks) {
    return PotrsCall(Platform::cuda, ranks, attributes,
                     {a, b, *x, *logdet, *info, *workspace, *work},
                     team_solver_seat(device, scratch));
  });
}

}  // namespace

/// Operands: rank, group, a, b. Results: x, logdet, info, workspace, work.
XLA_FFI_DEFINE_HANDLER_SYMBOL(jaxmg_potrs_cuda, potrs, (bind_with_scratch<4, 5>()));

}  // namespace jaxmg::ffi
