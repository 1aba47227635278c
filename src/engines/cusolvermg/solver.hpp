// cuSOLVERMg as an engine: the system of the paper (arXiv:2601.14466).
#pragma once

#include <functional>
#include <memory>

#include "engines/team_solver.hpp"

namespace jaxmg::cusolvermg {

/// cuSOLVERMg for one matrix. The calling thread's current GPU stays what it is. Makes a handle,
/// which takes tens of milliseconds, for the length of one call, as the paper's system does.
/// Throws DeviceError where the library is missing.
std::unique_ptr<TeamSolver> make_solver(const TeamMatrix& matrix);

/// The part of a rank on the GPU `device`, whose memory `allocate` supplies.
TeamSolverSeat seat_on(int device, std::function<void*(std::size_t bytes)> allocate);

}  // namespace jaxmg::cusolvermg
