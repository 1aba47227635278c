// What the handlers of potrs share on all platforms: decoding and validating.
#pragma once

#include "api/team_solver_program.hpp"
#include "cholesky_call.hpp"

namespace jaxmg::ffi {

/// Operands and results as they come from XLA. JAX's arrays are row-major: A's shard of shape
/// (n_loc, N) is N x n_loc here, b of shape (rows, k) is k x rows.
struct PotrsBuffers {
  xf::AnyBuffer a;
  xf::AnyBuffer b;
  xf::AnyBuffer x;
  xf::AnyBuffer logdet;
  xf::AnyBuffer info;
  xf::AnyBuffer workspace;
  xf::AnyBuffer work;  ///< A's storage, if A is factored in place; else empty
};

/// A call of potrs. `seat` is for engines other than jaxmg's.
class PotrsCall : public DecodedCall<PotrsBuffers, CholeskyProblem> {
 public:
  PotrsCall(Platform platform, int ranks, const CallAttributes& attributes,
            const PotrsBuffers& buffers, std::shared_ptr<TeamSolverSeat> seat = nullptr)
      : DecodedCall(platform, buffers, dtype_of(buffers.a, "a"),
                    planned(with_engine_of(decode_problem("a", buffers.a, ranks, attributes,
                                                          right_hand_sides(buffers.b),
                                                          attributes.integer("in_place") != 0),
                                           attributes),
                            platform, dtype_of(buffers.a, "a"))),
        seat_(std::move(seat)) {}

  std::string text() const {
    return describe("potrs", dtype(), problem_.order, problem_.columns, problem_.tile,
                    problem_.engine) +
           ", " + std::to_string(problem_.rhs) + " right-hand sides";
  }

  std::vector<xf::AnyBuffer> outputs() const {
    return {buffers_.x, buffers_.logdet, buffers_.info};
  }

  template <Backend B, Scalar T>
  RankProgram<B> program() const {
    const PotrsBuffers& io = buffers_;
    const index_t rows = io.b.dimensions()[0];
    expect(dtype_of(io.b, "b") == jaxmg::dtype_of<T>() && rows >= problem_.order, "b", io.b);
    expect(problem_.rhs > 0, "b", io.b);
    expect_like(io.b, "x", io.x);
    if (problem_.in_place) expect_like(io.a, "work", io.work);
    const auto memory = workspace(potrs_workspace_bytes<T>(problem_, traits_of(platform_)));

    const xf::AnyBuffer& matrix = problem_.in_place ? io.work : io.a;
    const PotrsOperands<T> operands{matrix_of<T>(matrix),
                                    matrix_of<const T>(io.b),
                                    matrix_of<T>(io.x),
                                    number_of<real_t<T>>(io.logdet, "logdet"),
                                    number_of<std::int32_t>(io.info, "info"),
                                    memory.get()};
    return [problem = problem_, operands, memory, seat = seat_](Rank<B>& rank) {
      run_potrs<B, T>(rank, problem, operands, seat.get());
    };
  }

 private:
  std::shared_ptr<TeamSolverSeat> seat_;
};

}  // namespace jaxmg::ffi
