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
class PotriCall {
 public:
  PotriCall(Platform platform, int ranks, const CallAttributes& attributes,
            const PotriBuffers& buffers, std::shared_ptr<TeamSolverSeat> seat = nullptr)
      : platform_(platform),
        buffers_(buffers),
        problem_(planned_inverse(with_engine_of(decode_problem("a", buffers.a, ranks, attributes, 0,
                                                               attributes.integer("in_place") != 0),
                                                attributes),
                                 platform, dtype())),
        seat_(std::move(seat)) {}

  DType dtype() const { return dtype_of(buffers_.a, "a"); }

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
    expect(io.x.element_count() == io.a.element_count(), "x", io.x);
    const auto workspace = workspace_of(
        io.workspace, potri_workspace_bytes<T>(problem_, traits_of(platform_)), platform_);
    const auto X = matrix_of<T>(io.x);
    const PotriOperands<T> operands{problem_.in_place ? X : matrix_of<T>(io.a), X,
                                    static_cast<real_t<T>*>(io.logdet.untyped_data()),
                                    static_cast<std::int32_t*>(io.info.untyped_data()),
                                    workspace.get()};
    return [problem = problem_, operands, workspace, seat = seat_](Rank<B>& rank) {
      run_potri<B, T>(rank, problem, operands, seat.get());
    };
  }

 private:
  Platform platform_;
  PotriBuffers buffers_;
  CholeskyProblem problem_;
  std::shared_ptr<TeamSolverSeat> seat_;
};

}  // namespace jaxmg::ffi
