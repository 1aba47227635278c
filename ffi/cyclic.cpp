// The handler of jaxmg.cyclic_1d on CPUs.
#include "algorithms/redistribute/out_of_place.hpp"
#include "call.hpp"
#include "device/cpu/backend.hpp"

namespace jaxmg::ffi {
namespace {

template <Scalar T>
RankProgram<cpu::Backend> make_program(const BlockCyclic& layout, const xf::AnyBuffer& a,
                                       const xf::AnyBuffer& cyclic) {
  const index_t n = layout.columns(), n_loc = layout.local_columns();
  if (a.dimensions()[0] != n_loc) throw InvalidArgument("a: unexpected " + describe(a));
  if (cyclic.element_type() != a.element_type() || cyclic.element_count() != a.element_count()) {
    throw InvalidArgument("cyclic: unexpected " + describe(cyclic));
  }
  // JAX's shard (n_loc, n), row-major, is n x n_loc here.
  const MatrixView<const T> from(static_cast<const T*>(a.untyped_data()), n, n_loc, n);
  const MatrixView<T> to(static_cast<T*>(cyclic.untyped_data()), n, n_loc, n);
  return [layout, from, to](Rank<cpu::Backend>& rank) {
    block_to_cyclic<cpu::Backend, T>(rank, layout, from, to, Rows::all);
  };
}

xf::Future cyclic(xf::RunId run, CallAttributes attributes, xf::AnyBuffer rank, xf::AnyBuffer group,
                  xf::AnyBuffer a, xf::Result<xf::AnyBuffer> cyclic) {
  return guarded([&] {
    const CallSite site = call_site(run, attributes, rank, group);
    if (a.dimensions().size() != 2) {
      throw InvalidArgument("a: expected a matrix, got " + describe(a));
    }
    const BlockCyclic layout(a.dimensions()[1], site.size, attributes.integer("tile"));
    const std::string call = "cyclic_1d of " + std::string(to_string(dtype_of(a, "a"))) +
                             ", n = " + std::to_string(layout.columns()) +
                             ", T = " + std::to_string(layout.tile());
    return join(site, call, [&] {
      return visit(dtype_of(a, "a"),
                   [&]<class T>() { return make_program<T>(layout, a, *cyclic); });
    });
  });
}

}  // namespace

/// Operands: rank, group, a. Results: the rows of a in the cyclic layout.
XLA_FFI_DEFINE_HANDLER_SYMBOL(jaxmg_cyclic_cpu, cyclic,
                              xf::Ffi::Bind()
                                  .Ctx<xf::RunId>()
                                  .Attrs<CallAttributes>()
                                  .Arg<xf::AnyBuffer>()    // rank
                                  .Arg<xf::AnyBuffer>()    // group
                                  .Arg<xf::AnyBuffer>()    // a
                                  .Ret<xf::AnyBuffer>());  // cyclic

}  // namespace jaxmg::ffi
