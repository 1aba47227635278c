// Libraries that work on the memories of all ranks at once, called by one thread: cuSOLVERMg.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "jaxmg/types.hpp"
#include "team/note.hpp"

namespace jaxmg {

/// What becomes of a matrix.
enum class TeamRoutine { potrs, potri, syevd, eigenvalues };

/// A Hermitian matrix of a team, of which the lower triangle counts, in whole tiles of columns that
/// are dealt to the ranks in turn, and its right-hand sides.
struct TeamMatrix {
  DType dtype;
  index_t order;
  index_t tile;
  TeamRoutine routine;
  index_t rhs;                 ///< right-hand sides; 0 but for potrs
  std::vector<int> devices;    ///< of each rank, as rank 0's process counts them
  std::vector<void*> shares;   ///< of each rank; leading dimension `order`
  std::vector<void*> columns;  ///< order x rhs elements on each rank: rank 0's is b, others' room
};

/// Called by one thread, when the devices have nothing to do. A call returns when its work is done,
/// and throws if the library fails.
class TeamSolver {
 public:
  virtual ~TeamSolver() = default;

  /// What each rank has to supply before the first of the following.
  virtual std::size_t scratch_bytes() = 0;
  virtual void use_scratch(std::vector<void*> of_ranks) = 0;

  /// A := L with A = L L^H. Returns 0, or, if A is not positive definite, the order of the first
  /// such minor, or -1 where the library does not tell it.
  virtual std::int64_t potrf() = 0;
  /// b := A^-1 b on rank 0, after potrf().
  virtual void potrs() = 0;
  /// A := A^-1, its lower triangle, after potrf().
  virtual void potri() = 0;
  /// w := the eigenvalues of A, ascending, for `order` real numbers of the host's; A := its
  /// eigenvectors, column by column, or lost where eigenvalues alone are asked for. Returns 0, or
  /// not if an iteration does not converge.
  virtual std::int64_t syevd(void* w) = 0;
};

/// A rank's device, and memory there, as rank 0's process sees them while it holds this.
struct Reached {
  int device;
  std::shared_ptr<void> memory;
};

/// One rank's part in the calls of such a library. Lives until all ranks have met.
struct TeamSolverSeat {
  /// What this rank's process is called, and no other.
  std::string process;
  /// What the process `to`, of the same host, needs to reach this rank's device and `memory` there.
  /// Throws DeviceError where that is not to be had.
  std::function<Note(void* memory, const std::string& to)> offer;
  /// There. Throws DeviceError.
  std::function<Reached(const Note& offered)> reach;
  /// Memory of this rank's device, for the length of the call. Throws OutOfMemory.
  std::function<void*(std::size_t bytes)> allocate;
  std::function<std::unique_ptr<TeamSolver>(const TeamMatrix&)> make_solver;
};

}  // namespace jaxmg
