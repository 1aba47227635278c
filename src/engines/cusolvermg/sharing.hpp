// How rank 0 reaches GPUs and memories of ranks that are in other processes of its host.
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include <cuda_runtime_api.h>

#include "engines/team_solver.hpp"

namespace jaxmg::cusolvermg {

/// How memory gets from process to process: as the allocation that it is part of was made.
enum class Way : std::int32_t {
  address,    ///< it need not
  handle,     ///< CUDA's IPC: cudaMalloc's, as JAX used to have it
  descriptor  ///< cuMemCreate's, made to be shared, as JAX 0.12 has it
};

/// What the text of an offer is.
struct Offer {
  Way way;
  std::int32_t device;       ///< as the rank's own process counts them
  std::uint64_t address;     ///< in that process
  std::array<char, 16> bus;  ///< the GPU's PCI address, the same for all processes
  std::uint64_t offset;      ///< in the allocation
  std::uint64_t bytes;       ///< of the allocation
  cudaIpcMemHandle_t handle;

  static Offer of(const Note& note);
  std::string text() const;
};

/// See TeamSolverSeat; the GPU `device` is the rank's.
const std::string& this_process();
Note offer(int device, void* memory, const std::string& to);
Reached reach(const Note& offered);

}  // namespace jaxmg::cusolvermg
