// What the calls on a Hermitian positive definite matrix, or on its factor, have in common.
#pragma once

#include "api/cholesky_plan.hpp"
#include "call.hpp"

namespace jaxmg::ffi {

/// The sizes of a call on `matrix`, a rank's shard of A or of its factor, as the attributes say.
inline CholeskyProblem decode_problem(const char* name, const xf::AnyBuffer& matrix, int ranks,
                                      const CallAttributes& attributes, index_t rhs,
                                      bool in_place) {
  expect_shard(name, matrix, ranks);
  const CholeskyProblem problem{matrix.dimensions()[1],
                                attributes.integer("order"),
                                ranks,
                                attributes.integer("tile"),
                                rhs,
                                in_place};
  validate(problem);
  return problem;
}

/// `problem` with the engine that the attributes name.
inline CholeskyProblem with_engine_of(CholeskyProblem problem, const CallAttributes& attributes) {
  problem.engine = static_cast<Engine>(attributes.integer("engine"));
  validate(problem);
  return problem;
}

/// Right-hand sides of a rank, for b as JAX holds it.
inline index_t right_hand_sides(const xf::AnyBuffer& b) {
  const auto dimensions = b.dimensions();
  if (dimensions.size() != 1 && dimensions.size() != 2) {
    throw InvalidArgument("b: expected a vector or a matrix, got " + describe(b));
  }
  return dimensions.size() == 1 ? 1 : dimensions[1];
}

/// "potrs of float64, n = 1797 in 1800, T = 225": what the ranks of a call must agree on. Engines
/// other than jaxmg's are named: "potrs (cusolvermg) of ...".
inline std::string describe(const char* routine, DType dtype, index_t order, index_t columns,
                            index_t tile, Engine engine = Engine::jaxmg) {
  const std::string by =
      engine == Engine::jaxmg ? std::string() : std::string(" (") + to_string(engine) + ")";
  return std::string(routine) + by + " of " + std::string(to_string(dtype)) +
         ", n = " + std::to_string(order) + " in " + std::to_string(columns) +
         ", T = " + std::to_string(tile);
}

}  // namespace jaxmg::ffi
