// The handler of jaxmg.cyclic_1d on NVIDIA GPUs.
#include "cuda/launch.hpp"
#include "cyclic_call.hpp"

namespace jaxmg::ffi {
namespace {

xf::Error cyclic(cudaStream_t stream, std::int32_t device, xf::RunId run, CallAttributes attributes,
                 xf::AnyBuffer rank, xf::AnyBuffer group, xf::AnyBuffer a,
                 xf::Result<xf::AnyBuffer> cyclic) {
  return launch({stream, device, run, attributes, rank, group},
                [&](int ranks) { return CyclicCall(ranks, attributes, a, *cyclic); });
}

}  // namespace

/// Operands: rank, group, a. Results: the rows of a in the cyclic layout.
XLA_FFI_DEFINE_HANDLER_SYMBOL(jaxmg_cyclic_cuda, cyclic, (bind<3, 1>()));

}  // namespace jaxmg::ffi
