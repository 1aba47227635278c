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
/// afterwards answers from memory.
///
/// A call site is known by its address and its attributes. Of a program that is gone another may
/// have the address: the attributes name the devices, and who is which rank, where they were known
/// when the call was traced. Where they were not, all is forgotten when an executable is made. XLA
/// does not tell of one that comes from JAX's compilation cache: a call of such a one that does not
/// name its devices reads its seat every time.
Seat seat_of(const CallAttributes& attributes, int device, const xf::AnyBuffer& rank,
             const xf::AnyBuffer& group, cudaStream_t stream);

/// Fills `outputs` with NaN, or -1 where they hold integers, should the operands on the device
/// differ from the seat that was remembered: the results are then those of another rank. Then all
/// seats are forgotten. It can happen to a program from the cache that takes the address of one
/// like it for the devices in another order: an exported one, or one that was traced without
/// knowing them, when this process has compiled one like it before.
void spoil_unless_seated(cudaStream_t stream, const Seat& seat, const xf::AnyBuffer& rank,
                         const xf::AnyBuffer& group, const std::vector<xf::AnyBuffer>& outputs);

/// The same should one of `flags`, on the device or where it sees them, not be 0: a process has
/// ended whose part of the results is missing.
void spoil_if_any(cudaStream_t stream, const std::vector<const std::int32_t*>& flags,
                  const std::vector<xf::AnyBuffer>& outputs);

/// For tests: from now on takes each device for its neighbour, at the call sites known so far: rank
/// 0 for 1, 2 for 3, and the other way round; or, for `groups`, each group for its neighbour.
void swap_seats(bool groups);

}  // namespace jaxmg::ffi
