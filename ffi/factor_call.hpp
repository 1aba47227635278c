// What the handlers of kept factors share on all platforms: decoding and validating.
#pragma once

#include "api/factor_program.hpp"
#include "api/potri_program.hpp"
#include "cholesky_call.hpp"

namespace jaxmg::ffi {

/// The inverses of a factor's diagonal tiles: tile x n_loc, or none.
template <Scalar T>
TileInverses<T> tile_inverses_of(const xf::AnyBuffer& buffer, index_t tile, index_t n_loc) {
  if (buffer.element_count() == 0) return {};
  expect(dtype_of(buffer, "inverses") == jaxmg::dtype_of<T>(), "inverses", buffer);
  const auto inverses = matrix_of<T>(buffer);
  expect(inverses.rows == tile && inverses.cols == n_loc, "inverses", buffer);
  return inverses;
}

struct ChoFactorBuffers {
  xf::AnyBuffer a;
  xf::AnyBuffer factor;  ///< A's own storage, if A is factored in place
  xf::AnyBuffer inverses;
  xf::AnyBuffer logdet;
  xf::AnyBuffer info;
  xf::AnyBuffer workspace;
};

/// A call of cho_factor. Its tile is what Python was told by jaxmg_factor_tile().
class ChoFactorCall : public DecodedCall<ChoFactorBuffers, CholeskyProblem> {
 public:
  ChoFactorCall(Platform platform, int ranks, const CallAttributes& attributes,
                const ChoFactorBuffers& buffers)
      : DecodedCall(platform, buffers, dtype_of(buffers.a, "a"),
                    planned_factor(decode_problem("a", buffers.a, ranks, attributes, 0,
                                                  attributes.integer("in_place") != 0),
                                   platform, dtype_of(buffers.a, "a"))) {}

  std::string text() const {
    return describe("cho_factor", dtype(), problem_.order, problem_.columns, problem_.tile);
  }

  std::vector<xf::AnyBuffer> outputs() const {
    return {buffers_.factor, buffers_.logdet, buffers_.info};
  }

  template <Backend B, Scalar T>
  RankProgram<B> program() const {
    const ChoFactorBuffers& io = buffers_;
    expect_like(io.a, "factor", io.factor);
    const auto memory = workspace(CholeskyWorkspace<T>::bytes(problem_, traits_of(platform_)));
    const auto factor = matrix_of<T>(io.factor);
    const ChoFactorOperands<T> operands{
        problem_.in_place ? factor : matrix_of<T>(io.a),
        factor,
        tile_inverses_of<T>(io.inverses, problem_.tile, problem_.columns / problem_.ranks),
        number_of<real_t<T>>(io.logdet, "logdet"),
        number_of<std::int32_t>(io.info, "info"),
        memory.get()};
    return [problem = problem_, operands, memory](Rank<B>& rank) {
      cho_factor_program<B, T>(rank, problem, operands);
    };
  }
};

struct ChoSolveBuffers {
  xf::AnyBuffer factor;
  xf::AnyBuffer inverses;
  xf::AnyBuffer info;
  xf::AnyBuffer b;
  xf::AnyBuffer x;
  xf::AnyBuffer workspace;
};

/// A call of cho_solve.
class ChoSolveCall : public DecodedCall<ChoSolveBuffers, ChoSolveProblem> {
 public:
  ChoSolveCall(Platform platform, int ranks, const CallAttributes& attributes,
               const ChoSolveBuffers& buffers)
      : DecodedCall(platform, buffers, dtype_of(buffers.factor, "factor"),
                    decode(ranks, attributes, buffers)) {}

  std::string text() const {
    return describe("cho_solve", dtype(), problem_.order, problem_.columns, problem_.tile) + ", " +
           std::to_string(problem_.rhs) + " right-hand sides" + (problem_.spread ? " a rank" : "");
  }

  std::vector<xf::AnyBuffer> outputs() const { return {buffers_.x}; }

  template <Backend B, Scalar T>
  RankProgram<B> program() const {
    const ChoSolveBuffers& io = buffers_;
    expect(dtype_of(io.b, "b") == jaxmg::dtype_of<T>() && io.b.dimensions()[0] >= problem_.order,
           "b", io.b);
    expect_like(io.b, "x", io.x);
    const bool direct = traits_of(platform_).reads_peers_directly;
    const auto memory = workspace(ChoSolveWorkspace<T>::bytes(problem_, direct));
    const ChoSolveOperands<T> operands{
        matrix_of<const T>(io.factor),
        tile_inverses_of<T>(io.inverses, problem_.tile, problem_.columns / problem_.ranks),
        number_of<const std::int32_t>(io.info, "info"),
        matrix_of<const T>(io.b),
        matrix_of<T>(io.x),
        memory.get()};
    return [problem = problem_, operands, memory](Rank<B>& rank) {
      cho_solve_program<B, T>(rank, problem, operands);
    };
  }

 private:
  static ChoSolveProblem decode(int ranks, const CallAttributes& attributes,
                                const ChoSolveBuffers& buffers) {
    expect_shard("factor", buffers.factor, ranks);
    const ChoSolveProblem problem{buffers.factor.dimensions()[1],
                                  attributes.integer("order"),
                                  ranks,
                                  attributes.integer("tile"),
                                  right_hand_sides(buffers.b),
                                  attributes.integer("spread") != 0,
                                  buffers.inverses.element_count() != 0};
    problem.layout();  // checks the sizes
    return problem;
  }
};

struct ChoInverseBuffers {
  xf::AnyBuffer factor;
  xf::AnyBuffer info;
  xf::AnyBuffer x;
  xf::AnyBuffer workspace;
};

/// A call of a factor's inverse().
class ChoInverseCall : public DecodedCall<ChoInverseBuffers, CholeskyProblem> {
 public:
  ChoInverseCall(Platform platform, int ranks, const CallAttributes& attributes,
                 const ChoInverseBuffers& buffers)
      : DecodedCall(platform, buffers, dtype_of(buffers.factor, "factor"),
                    decode_problem("factor", buffers.factor, ranks, attributes, 0, false)) {}

  std::string text() const {
    return describe("inverse of a factor", dtype(), problem_.order, problem_.columns,
                    problem_.tile);
  }

  std::vector<xf::AnyBuffer> outputs() const { return {buffers_.x}; }

  template <Backend B, Scalar T>
  RankProgram<B> program() const {
    const ChoInverseBuffers& io = buffers_;
    expect_like(io.factor, "x", io.x);
    const auto memory = workspace(FactorInverseWorkspace<T>::bytes(problem_, traits_of(platform_)));
    return [problem = problem_, L = matrix_of<const T>(io.factor), X = matrix_of<T>(io.x),
            info = number_of<const std::int32_t>(io.info, "info"), memory](Rank<B>& rank) {
      factor_inverse_program<B, T>(rank, problem, L, X, info, memory.get());
    };
  }
};

}  // namespace jaxmg::ffi
