// What the handlers of potrs share on all platforms: decoding and validating.
#pragma once

#include "api/potrs_program.hpp"
#include "call.hpp"

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

inline index_t rows_of(const xf::AnyBuffer& b) { return b.dimensions()[0]; }
inline index_t columns_of(const xf::AnyBuffer& b) {
  return b.dimensions().size() == 1 ? 1 : b.dimensions()[1];
}

inline CholeskyProblem problem_of(Platform platform, const CallSite& site,
                                  const CallAttributes& attributes, const PotrsBuffers& buffers) {
  const auto a = buffers.a.dimensions(), b = buffers.b.dimensions();
  if (a.size() != 2) throw InvalidArgument("a: expected a matrix, got " + describe(buffers.a));
  if (b.size() != 1 && b.size() != 2) {
    throw InvalidArgument("b: expected a vector or a matrix, got " + describe(buffers.b));
  }
  const CholeskyProblem problem{a[1],
                                attributes.integer("order"),
                                site.size,
                                attributes.integer("tile"),
                                columns_of(buffers.b),
                                attributes.integer("in_place") != 0};
  validate(problem);
  return planned(problem, platform, dtype_of(buffers.a, "a"));
}

/// What the call is, for messages and for the ranks to agree on.
inline std::string describe_potrs(const CholeskyProblem& problem, const PotrsBuffers& buffers) {
  return "potrs of " + std::string(to_string(dtype_of(buffers.a, "a"))) +
         ", n = " + std::to_string(problem.order) + " in " + std::to_string(problem.columns) +
         ", T = " + std::to_string(problem.tile) + ", " + std::to_string(problem.rhs) +
         " right-hand sides";
}

/// One rank's program. Throws InvalidArgument or OutOfMemory if the buffers do not fit the problem.
template <Backend B, Scalar T>
RankProgram<B> potrs_rank_program(const CholeskyProblem& problem, const PotrsBuffers& buffers,
                                  bool reads_peers_directly) {
  const auto expect = [](bool good, const char* name, const xf::AnyBuffer& buffer) {
    if (!good) throw InvalidArgument(std::string(name) + ": unexpected " + describe(buffer));
  };
  const index_t n_loc = problem.columns / problem.ranks;
  expect(buffers.a.dimensions()[0] == n_loc, "a", buffers.a);
  expect(dtype_of(buffers.b, "b") == jaxmg::dtype_of<T>() && rows_of(buffers.b) >= problem.order,
         "b", buffers.b);
  expect(buffers.x.element_type() == buffers.b.element_type() &&
             buffers.x.element_count() == buffers.b.element_count(),
         "x", buffers.x);
  const std::size_t needed =
      CholeskyWorkspace<T>::bytes(problem, {B::panel_method, reads_peers_directly});
  if (buffers.workspace.size_bytes() < needed) {
    throw OutOfMemory("workspace: expected at least " + std::to_string(needed) + " bytes, got " +
                      std::to_string(buffers.workspace.size_bytes()));
  }

  const xf::AnyBuffer& matrix = problem.in_place ? buffers.work : buffers.a;
  const PotrsOperands<T> operands{
      {static_cast<T*>(matrix.untyped_data()), problem.columns, n_loc, problem.columns},
      {static_cast<const T*>(buffers.b.untyped_data()), problem.rhs, rows_of(buffers.b),
       problem.rhs},
      {static_cast<T*>(buffers.x.untyped_data()), problem.rhs, rows_of(buffers.b), problem.rhs},
      static_cast<real_t<T>*>(buffers.logdet.untyped_data()),
      static_cast<std::int32_t*>(buffers.info.untyped_data()),
      buffers.workspace.untyped_data()};
  return [problem, operands](Rank<B>& rank) { potrs_program<B, T>(rank, problem, operands); };
}

}  // namespace jaxmg::ffi
