// The handler of jaxmg.potri on NVIDIA GPUs.
#include "cuda/launch.hpp"
#include "potri_call.hpp"

namespace jaxmg::ffi {
namespace {

xf::Error potri(cudaStream_t stream, std::int32_t device, xf::RunId run,
                xf::ScratchAllocator scratch, CallAttributes attributes, xf::AnyBuffer rank,
                xf::AnyBuffer group, xf::AnyBuffer a, xf::Result<xf::AnyBuffer> x,
                xf::Result<xf::AnyBuffer> logdet, xf::Result<xf::AnyBuffer> info,
                xf::Result<xf::AnyBuffer> workspace) {
  return launch({stream, device, run, attributes, rank, group}, [&](int ranks) {
    return PotriCall(Platform::cuda, ranks, attributes, {a, *x, *logdet, *info, *workspace},
                     team_solver_seat(device, scratch));
  });
}

}  // namespace

/// Operands: rank, group, a. Results: x, logdet, info, workspace.
XLA_FFI_DEFINE_HANDLER_SYMBOL(jaxmg_potri_cuda, potri, (bind_with_scratch<3, 4>()));

}  // namespace jaxmg::ffi
