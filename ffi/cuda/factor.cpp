// The handlers of jaxmg.cho_factor, jaxmg.cho_solve and a factor's inverse() on NVIDIA GPUs.
#include "cuda/launch.hpp"
#include "factor_call.hpp"

namespace jaxmg::ffi {
namespace {

xf::Error cho_factor(cudaStream_t stream, std::int32_t device, xf::RunId run,
                     CallAttributes attributes, xf::AnyBuffer rank, xf::AnyBuffer group,
                     xf::AnyBuffer a, xf::Result<xf::AnyBuffer> factor,
                     xf::Result<xf::AnyBuffer> inverses, xf::Result<xf::AnyBuffer> logdet,
                     xf::Result<xf::AnyBuffer> info, xf::Result<xf::AnyBuffer> workspace) {
  return launch({stream, device, run, attributes, rank, group}, [&](int ranks) {
    return ChoFactorCall(Platform::cuda, ranks, attributes,
                         {a, *factor, *inverses, *logdet, *info, *workspace});
  });
}

xf::Error cho_solve(cudaStream_t stream, std::int32_t device, xf::RunId run,
                    CallAttributes attributes, xf::AnyBuffer rank, xf::AnyBuffer group,
                    xf::AnyBuffer factor, xf::AnyBuffer inverses, xf::AnyBuffer info,
                    xf::AnyBuffer b, xf::Result<xf::AnyBuffer> x,
                    xf::Result<xf::AnyBuffer> workspace) {
  return launch({stream, device, run, attributes, rank, group}, [&](int ranks) {
    return ChoSolveCall(Platform::cuda, ranks, attributes,
                        {factor, inverses, info, b, *x, *workspace});
  });
}

xf::Error cho_inverse(cudaStream_t stream, std::int32_t device, xf::RunId run,
                      CallAttributes attributes, xf::AnyBuffer rank, xf::AnyBuffer group,
                      xf::AnyBuffer factor, xf::AnyBuffer info, xf::Result<xf::AnyBuffer> x,
                      xf::Result<xf::AnyBuffer> workspace) {
  return launch({stream, device, run, attributes, rank, group}, [&](int ranks) {
    return ChoInverseCall(Platform::cuda, ranks, attributes, {factor, info, *x, *workspace});
  });
}

}  // namespace

/// Operands: rank, group, a. Results: factor, inverses, logdet, info, workspace.
XLA_FFI_DEFINE_HANDLER_SYMBOL(jaxmg_cho_factor_cuda, cho_factor, (bind<3, 5>()));

/// Operands: rank, group, factor, inverses, info, b. Results: x, workspace.
XLA_FFI_DEFINE_HANDLER_SYMBOL(jaxmg_cho_solve_cuda, cho_solve, (bind<6, 2>()));

/// Operands: rank, group, factor, info. Results: x, workspace.
XLA_FFI_DEFINE_HANDLER_SYMBOL(jaxmg_cho_inverse_cuda, cho_inverse, (bind<4, 2>()));

}  // namespace jaxmg::ffi
