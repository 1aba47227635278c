// The handler of jaxmg.potrs on NVIDIA GPUs. It only enqueues: the results are ready when the
// device's stream gets there.
#include "cuda/meet.hpp"
#include "cuda/seat.hpp"
#include "device/cuda/kernels.hpp"
#include "potrs_call.hpp"

namespace jaxmg::ffi {
namespace {

/// NaN everywhere and info -1 if the device is not the rank that was remembered for it.
template <Scalar T>
void check_seat(cudaStream_t stream, const Seat& seat, const xf::AnyBuffer& rank,
                const xf::AnyBuffer& group, const PotrsBuffers& buffers) {
  auto* const info = static_cast<std::int32_t*>(buffers.info.untyped_data());
  cuda::launch_check_seat(stream, static_cast<const std::int32_t*>(rank.untyped_data()),
                          static_cast<const std::int32_t*>(group.untyped_data()), seat.rank,
                          seat.group, info);
  const auto count = static_cast<index_t>(buffers.x.element_count());
  cuda::launch_fill_nan_if<T>(stream, info,
                              {static_cast<T*>(buffers.x.untyped_data()), count, 1, count});
}

xf::Error potrs(cudaStream_t stream, std::int32_t ordinal, xf::RunId run, CallAttributes attributes,
                xf::AnyBuffer rank, xf::AnyBuffer group, xf::AnyBuffer a, xf::AnyBuffer b,
                xf::Result<xf::AnyBuffer> x, xf::Result<xf::AnyBuffer> logdet,
                xf::Result<xf::AnyBuffer> info, xf::Result<xf::AnyBuffer> workspace,
                xf::Result<xf::AnyBuffer> work) {
  try {
    const Seat seat =
        seat_of(attributes.instance(), ordinal, rank.untyped_data(), group.untyped_data(), stream);
    const CallSite site{{run.run_id, attributes.instance(), seat.group},
                        seat.rank,
                        static_cast<int>(attributes.integer("ranks"))};
    const PotrsBuffers buffers{a, b, *x, *logdet, *info, *workspace, *work};
    const CholeskyProblem problem = problem_of(Platform::cuda, site, attributes, buffers);

    std::optional<cuda::Device> device;
    RankProgram<cuda::Backend> program;
    std::exception_ptr failure;
    try {
      device.emplace(ordinal, stream);
      program = visit(dtype_of(a, "a"), [&]<class T>() {
        return potrs_rank_program<cuda::Backend, T>(problem, buffers, false);
      });
    } catch (...) {
      failure = std::current_exception();
    }
    const auto team =
        meet(site.key, site.rank, site.size, describe_potrs(problem, buffers), failure);
    if (const auto failed = run_rank(*team, site.rank, *device, program)) {
      return to_ffi_error(failed);
    }
    visit(dtype_of(a, "a"), [&]<class T>() { check_seat<T>(stream, seat, rank, group, buffers); });
    return xf::Error::Success();
  } catch (...) {
    return to_ffi_error(std::current_exception());
  }
}

xf::Error instantiate(xf::RemainingArgs, xf::RemainingRets, xf::Dictionary) {
  forget_seats();
  return xf::Error::Success();
}

}  // namespace

XLA_FFI_DEFINE_HANDLER_SYMBOL(
    jaxmg_instantiate_cuda, instantiate,
    xf::Ffi::BindInstantiate().RemainingArgs().RemainingRets().Attrs<xf::Dictionary>());

/// Operands: rank, group, a, b. Results: x, logdet, info, workspace, work.
XLA_FFI_DEFINE_HANDLER_SYMBOL(jaxmg_potrs_cuda, potrs,
                              xf::Ffi::Bind()
                                  .Ctx<xf::PlatformStream<cudaStream_t>>()
                                  .Ctx<xf::DeviceOrdinal>()
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
