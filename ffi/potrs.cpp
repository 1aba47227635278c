// The handler of jaxmg.potrs on CPUs.
#include "api/potrs_program.hpp"
#include "call.hpp"

namespace jaxmg::ffi {
namespace {

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

index_t rows_of(const xf::AnyBuffer& b) { return b.dimensions()[0]; }
index_t columns_of(const xf::AnyBuffer& b) {
  return b.dimensions().size() == 1 ? 1 : b.dimensions()[1];
}

CholeskyProblem problem_of(const CallSite& site, const CallAttributes& attributes,
                           const PotrsBuffers& buffers) {
  const auto a = buffers.a.dimensions(), b = buffers.b.dimensions();
  if (a.size() != 2) throw InvalidArgument("a: expected a matrix, got " + describe(buffers.a));
  if (b.size() != 1 && b.size() != 2) {
    throw InvalidArgument("b: expected a vector or a matrix, got " + describe(buffers.b));
  }
  return {a[1],
          attributes.integer("order"),
          site.size,
          attributes.integer("tile"),
          columns_of(buffers.b),
          attributes.integer("in_place") != 0};
}

template <Scalar T>
RankProgram<cpu::Backend> make_program(const CholeskyProblem& problem,
                                       const PotrsBuffers& buffers) {
  validate(problem);
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
  const std::size_t needed = CholeskyWorkspace<cpu::Backend, T>::bytes(problem, true);
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
      buffers.info.typed_data<std::int32_t>(),
      buffers.workspace.untyped_data()};
  return [problem, operands](Rank<cpu::Backend>& rank) {
    potrs_program<cpu::Backend, T>(rank, problem, operands);
  };
}

xf::Future potrs(xf::RunId run, CallAttributes attributes, xf::AnyBuffer rank, xf::AnyBuffer group,
                 xf::AnyBuffer a, xf::AnyBuffer b, xf::Result<xf::AnyBuffer> x,
                 xf::Result<xf::AnyBuffer> logdet, xf::Result<xf::AnyBuffer> info,
                 xf::Result<xf::AnyBuffer> workspace, xf::Result<xf::AnyBuffer> work) {
  return guarded([&] {
    const CallSite site = call_site(run, attributes, rank, group);
    const PotrsBuffers buffers{a, b, *x, *logdet, *info, *workspace, *work};
    const CholeskyProblem problem = problem_of(site, attributes, buffers);
    const std::string call = "potrs of " + std::string(to_string(dtype_of(a, "a"))) +
                             ", n = " + std::to_string(problem.order) + " in " +
                             std::to_string(problem.columns) +
                             ", T = " + std::to_string(problem.tile) + ", " +
                             std::to_string(problem.rhs) + " right-hand sides";
    return join(site, call, [&] {
      return visit(dtype_of(a, "a"), [&]<class T>() { return make_program<T>(problem, buffers); });
    });
  });
}

}  // namespace

/// Operands: rank, group, a, b. Results: x, logdet, info, workspace, work.
XLA_FFI_DEFINE_HANDLER_SYMBOL(jaxmg_potrs_cpu, potrs,
                              xf::Ffi::Bind()
                                  .Ctx<xf::RunId>()
                                  .Attrs<CallAttributes>()
                                  .Arg<xf::AnyBuffer>()    // rank
                                  .Arg<xf::AnyBuffer>()    // group
                                  .Arg<xf::AnyBuffer>()    // a
                                  .Arg<xf::AnyBuffer>()    // b
                                  .Ret<xf::AnyBuffer>()    // x
                                  .Ret<xf::AnyBuffer>()    // logdet
                                  .Ret<xf::AnyBuffer>()    // info
                                  .Ret<xf::AnyBuffer>()    // workspace
                                  .Ret<xf::AnyBuffer>());  // work

}  // namespace jaxmg::ffi
