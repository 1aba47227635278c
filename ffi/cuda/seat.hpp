// Which rank a device is in a call, without a synchronising read on every call.
#pragma once

#include <cstdint>
#include <vector>

#include <cuda_runtime_api.h>

#include "call.hpp"

namespace jaxmg::ffi {

/// Rank and group of one device at one call site. Where the call was traced for ranks in several
/// processes a number comes with the group that tells teams of different devices apart, or 0.
struct Seat {
  std::int32_t rank;
  std::int32_t group;
  std::int32_t team = 0;
  bool spread = false;
};

/// Reads the operands from the device on the first call of a call site, waiting for `stream`;
/// afterwards answers from memory. `instance` is the call site's address.
Seat seat_of(std::uintptr_t instance, int device, const xf::AnyBuffer& rank,
             const xf::AnyBuffer& group, cudaStream_t stream);

/// Fills `outputs` with NaN, or -1 where they hold integers, should the operands on the device
/// differ from the seat that was remembered: the results are then those of another rank.
void spoil_unless_seated(cudaStream_t stream, const Seat& seat, const xf::AnyBuffer& rank,
                         const xf::AnyBuffer& group, const std::vector<xf::AnyBuffer>& outputs);

/// The same should one of `flags`, on the device or where it sees them, not be 0: a process has
/// ended whose part of the results is missing.
void spoil_if_any(cudaStream_t stream, const std::vector<const std::int32_t*>& flags,
                  const std::vector<xf::AnyBuffer>& outputs);

/// Forgets all seats: an executable was made, and may have the addresses of one that is gone.
void forget_seats();

/// For tests: from now on takes each device for its neighbour, at the call sites known so far: rank
/// 0 for 1, 2 for 3, and the other way round.
void swap_seats();

}  // namespace jaxmg::ffi
