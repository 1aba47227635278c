// What the handlers of cyclic_1d share on all platforms: decoding and validating.
#pragma once

#include "algorithms/redistribute/out_of_place.hpp"
#include "call.hpp"

namespace jaxmg::ffi {

/// A call of cyclic_1d. JAX's shard (n_loc, n), row-major, is n x n_loc here.
class CyclicCall {
 public:
  CyclicCall(int ranks, const CallAttributes& attributes, const xf::AnyBuffer& a,
             const xf::AnyBuffer& cyclic)
      : layout_(columns_of(a), ranks, attributes.integer("tile")), a_(a), cyclic_(cyclic) {}

  DType dtype() const { return dtype_of(a_, "a"); }

  std::string text() const {
    return "cyclic_1d of " + std::string(to_string(dtype())) +
           ", n = " + std::to_string(layout_.columns()) + ", T = " + std::to_string(layout_.tile());
  }

  std::vector<xf::AnyBuffer> outputs() const { return {cyclic_}; }

  template <Backend B, Scalar T>
  RankProgram<B> program() const {
    const index_t n = layout_.columns(), n_loc = layout_.local_columns();
    expect(a_.dimensions()[0] == n_loc, "a", a_);
    expect(cyclic_.element_type() == a_.element_type() &&
               cyclic_.element_count() == a_.element_count(),
           "cyclic", cyclic_);
    const MatrixView<const T> from(static_cast<const T*>(a_.untyped_data()), n, n_loc, n);
    const MatrixView<T> to(static_cast<T*>(cyclic_.untyped_data()), n, n_loc, n);
    return [layout = layout_, from, to](Rank<B>& rank) {
      block_to_cyclic<B, T>(rank, layout, from, to, Rows::all);
    };
  }

 private:
  static index_t columns_of(const xf::AnyBuffer& a) {
    if (a.dimensions().size() == 2) return a.dimensions()[1];
    throw InvalidArgument("a: expected a matrix, got " + describe(a));
  }

  BlockCyclic layout_;
  xf::AnyBuffer a_;
  xf::AnyBuffer cyclic_;
};

}  // namespace jaxmg::ffi
