// What the handlers of syevd share on all platforms: decoding and validating.
#pragma once

#include "api/team_solver_syevd.hpp"
#include "cholesky_call.hpp"
#include "stages.hpp"

namespace jaxmg::ffi {

/// Operands and results as they come from XLA. JAX's arrays are row-major: A's shard of shape
/// (n_loc, N) is N x n_loc here, and V's of shape (N, n_loc) is n_loc x N. It holds V^H of the
/// matrix that is seen here, since that is conj(A).
struct SyevdBuffers {
  xf::AnyBuffer a;
  xf::AnyBuffer w;
  xf::AnyBuffer v;  ///< empty for eigenvalues alone
  xf::AnyBuffer info;
  xf::AnyBuffer workspace;
  xf::AnyBuffer work;  ///< A's storage, if that is the working matrix; else empty
};

/// The sizes of a call.
inline SyevdProblem decode_syevd(const xf::AnyBuffer& a, int ranks,
                                 const CallAttributes& attributes) {
  expect_shard("a", a, ranks);
  SyevdProblem problem{a.dimensions()[1],
                       attributes.integer("order"),
                       ranks,
                       attributes.integer("tile"),
                       attributes.integer("vectors") != 0 ? Eigenvectors::rows : Eigenvectors::none,
                       attributes.integer("in_place") != 0};
  problem.engine = static_cast<Engine>(attributes.integer("engine"));
  validate(problem);
  return problem;
}

/// A call of syevd. `seat` is for engines other than jaxmg's.
class SyevdCall : public DecodedCall<SyevdBuffers, SyevdProblem> {
 public:
  SyevdCall(Platform platform, int ranks, const CallAttributes& attributes,
            const SyevdBuffers& buffers, std::shared_ptr<TeamSolverSeat> seat = nullptr)
      : DecodedCall(platform, buffers, dtype_of(buffers.a, "a"),
                    planned(decode_syevd(buffers.a, ranks, attributes), platform,
                            dtype_of(buffers.a, "a"))),
        seat_(std::move(seat)) {}

  std::string text() const {
    return describe(problem_.with_vectors() ? "syevd" : "syevd without vectors", dtype(),
                    problem_.order, problem_.columns, problem_.tile, problem_.engine);
  }

  std::vector<xf::AnyBuffer> outputs() const { return {buffers_.w, buffers_.v, buffers_.info}; }

  template <Backend B, Scalar T>
  RankProgram<B> program() const {
    const SyevdBuffers& io = buffers_;
    expect(dtype_of(io.w, "w") == jaxmg::dtype_of<real_t<T>>() &&
               static_cast<index_t>(io.w.element_count()) == problem_.order,
           "w", io.w);
    MatrixView<T> V;
    if (problem_.with_vectors()) {
      expect_like(io.a, "v", io.v);
      V = matrix_of<T>(io.v);
    }
    if (problem_.in_place) expect_like(io.a, "work", io.work);
    const auto memory = workspace(syevd_workspace_bytes<T>(problem_, traits_of(platform_)));
    const SyevdOperands<T> operands{matrix_of<T>(problem_.in_place ? io.work : io.a),
                                    data_of<real_t<T>>(io.w),
                                    V,
                                    number_of<std::int32_t>(io.info, "info"),
                                    memory.get(),
                                    stage_listener()};
    return [problem = problem_, operands, memory, seat = seat_](Rank<B>& rank) {
      run_syevd<B, T>(rank, problem, operands, seat.get());
    };
  }

 private:
  std::shared_ptr<TeamSolverSeat> seat_;
};

}  // namespace jaxmg::ffi
