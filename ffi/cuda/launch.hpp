// What the handlers on GPUs share. A handler only enqueues: the results are ready when the device's
// stream gets there.
#pragma once

#include <exception>
#include <optional>

#include "call.hpp"
#include "cuda/fault.hpp"
#include "cuda/meet.hpp"
#include "cuda/seat.hpp"
#include "engines/cusolvermg/solver.hpp"

namespace jaxmg::ffi {

/// What every handler on GPUs is given first.
struct Launch {
  cudaStream_t stream;
  int device;
  xf::RunId run;
  CallAttributes attributes;
  xf::AnyBuffer rank;
  xf::AnyBuffer group;
};

/// Takes part in a call, as the rank that this device is, and returns when all ranks have enqueued
/// their work. `make_call(ranks)` decodes and validates.
template <class MakeCall>
xf::Error launch(const Launch& from, MakeCall make_call) {
  try {
    const Seat seat = seat_of(from.attributes, from.device, from.rank, from.group, from.stream);
    CallSite site = call_site(from.run, from.attributes, seat.rank, seat.group, Platform::cuda);
    site.key.group |= std::int64_t{seat.team} << 32;
    site.spread = seat.spread;
    const RoutineCall auto call = make_call(site.size);

    std::optional<cuda::Device> device;
    RankProgram<cuda::Backend> program;
    std::exception_ptr failure;
    try {
      device.emplace(from.device, from.stream);
      program = with_injected_fault(site.rank, program_of<cuda::Backend>(call));
    } catch (...) {
      failure = std::current_exception();
    }
    const auto team = meet(site, from.device, call.text(), failure);
    if (const auto failed = run_rank(*team, site.rank, *device, program)) {
      return to_ffi_error(failed);
    }
    spoil_unless_seated(from.stream, seat, from.rank, from.group, call.outputs());
    guard_results(*team, call.text(), from.stream, call.outputs());
    return xf::Error::Success();
  } catch (...) {
    return to_ffi_error(std::current_exception());
  }
}

/// What a handler on GPUs is given; its operands begin with rank and group.
template <std::size_t operands, std::size_t results>
auto bind() {
  return bind_buffers<operands, results>(xf::Ffi::Bind()
                                             .Ctx<xf::PlatformStream<cudaStream_t>>()
                                             .Ctx<xf::DeviceOrdinal>()
                                             .Ctx<xf::RunId>()
                                             .Attrs<CallAttributes>());
}

/// The same for a routine that several engines have; see team_solver_seat().
template <std::size_t operands, std::size_t results>
auto bind_with_scratch() {
  return bind_buffers<operands, results>(xf::Ffi::Bind()
                                             .Ctx<xf::PlatformStream<cudaStream_t>>()
                                             .Ctx<xf::DeviceOrdinal>()
                                             .Ctx<xf::RunId>()
                                             .Ctx<xf::ScratchAllocator>()
                                             .Attrs<CallAttributes>());
}

/// This rank's part in calls of cuSOLVERMg, whose scratch comes from JAX's pool. `pool` must live
/// as long as the call.
inline std::shared_ptr<TeamSolverSeat> team_solver_seat(int device, xf::ScratchAllocator& pool) {
  const auto allocate = [device, &pool](std::size_t bytes) {
    if (const auto memory = pool.Allocate(bytes)) return *memory;
    throw OutOfMemory("could not allocate " + std::to_string(bytes) + " bytes on GPU " +
                      std::to_string(device) + " from JAX's pool, for cuSOLVERMg's workspace");
  };
  return std::make_shared<TeamSolverSeat>(cusolvermg::seat_on(device, allocate));
}

}  // namespace jaxmg::ffi
