// What the handlers of potri share on all platforms: decoding and validating.
#pragma once

#include "api/team_solver_program.hpp"
#include "cholesky_call.hpp"

namespace jaxmg::ffi {

/// Operands and results as they come from XLA. JAX's shard (n_loc, N), row-major, is N x n_loc
/// here.
struct PotriBuffers {
  xf::AnyBuffer a;
  xf::AnyBuffer x;  ///< A's own storage, if A is inverted in place
  xf::AnyBuffer logdet;
  xf::AnyBuffer info;
  xf::AnyBuffer workspace;
};

/// A call of potri. `seat` is for engines other than jaxmg's.
class PotriCall : public DecodedCall<PotriBuffers, CholeskyProblem> {
 public:
  PotriCall(Platform platform, int ranks, const CallAttributes& attributes,
            const PotriBuffers& buffers, std::shared_ptr<TeamSolverSeat> seat = nullptr)
      : DecodedCall(
            platform, buffers, dtype_of(buffers.a, "a"),
            planned_inverse(with_engine_of(decode_problem("a", buffers.a, ranks, attributes, 0,
                                                          attributes.integer("in_place") != 0),
                                           attributes),
                            platform, dtype_of(buffers.a, "a"))),
        seat_(std::move(seat)) {}

  std::string text() const {
    return describe("potri", dtype(), problem_.order, problem_.columns, problem_.tile,
                    problem_.engine);
  }

  std::vector<xf::AnyBuffer> outputs() const {
    return {buffers_.x, buffers_.logdet, buffers_.info};
  }

  template <Backend B, Scalar T>
  RankProgram<B> program() const {
    const PotriBuffers& io = buffers_;
    expect_like(io.a, "x", io.x);
    const auto memory = workspace(potri_workspace_bytes<T>(problem_, traits_of(platform_)));
    const auto X = matrix_of<T>(io.x);
    const PotriOperands<T> operands{problem_.in_place ? X : matrix_of<T>(io.a), X,
                                    number_of<real_t<T>>(io.logdet, "logdet"),
                                    number_of<std::int32_t>(io.info, "info"), memory.get()};
    return [problem = problem_, operands, memory, seat = seat_](Rank<B>& rank) {
      run_potri<B, T>(rank, problem, operands, seat.get());
    };
  }

 private:
  std::shared_ptr<TeamSolverSeat> seat_;
};

}  // namespace jaxmg::ffi
