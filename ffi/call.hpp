// What the handlers share on all platforms: decoding and errors.
#pragma once

#include <concepts>
#include <cstdint>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "api/cholesky_plan.hpp"
#include "jaxmg/error.hpp"
#include "jaxmg/view.hpp"
#include "team/rendezvous.hpp"
#include "xla/ffi/api/ffi.h"

namespace jaxmg::ffi {

namespace xf = ::xla::ffi;

/// All attributes of a call, and the address where XLA keeps them: equal on all devices of one
/// execution and distinct for each call in it, also for calls that were traced only once.
class CallAttributes : public xf::Dictionary {
 public:
  explicit CallAttributes(const XLA_FFI_Attrs* attrs) : xf::Dictionary(attrs), attributes_(attrs) {}

  std::uintptr_t instance() const { return reinterpret_cast<std::uintptr_t>(attributes_->attrs); }

  /// All integers among them: "ranks=4 order=1797 ".
  std::string contents() const;

  /// Throws InvalidArgument if there is no int64 of that name.
  index_t integer(const char* name) const {
    const auto value = get<std::int64_t>(name);
    if (value.has_value()) return *value;
    throw InvalidArgument(std::string(name) + ": expected an int64 attribute; the Python package " +
                          "and its compiled library do not belong together");
  }

 private:
  const XLA_FFI_Attrs* attributes_;
};

/// Where a handler was called, and as which rank of which team: operands, since one compiled
/// program may serve several device sets. `ticket` as in processes::Visit.
struct CallSite {
  CallKey key;
  int rank;
  int size;
  Platform platform;
  std::int64_t ticket = 0;
  bool spread = false;  ///< on GPUs: traced for ranks in several processes
};

/// Throws InvalidArgument if there is no such rank.
CallSite call_site(xf::RunId run, const CallAttributes& attributes, std::int32_t rank,
                   std::int32_t group, Platform platform);

/// What a handler makes of a call's buffers and attributes, once they are checked. `text` says what
/// the call is, for messages and for the ranks to agree on; `outputs` are the results that callers
/// see. Besides, `call.template program<B, T>()` is one rank's program, for T of that dtype; it
/// throws InvalidArgument or OutOfMemory if the buffers do not fit.
template <class C>
concept RoutineCall = requires(const C& call) {
  { call.dtype() } -> std::same_as<DType>;
  { call.text() } -> std::same_as<std::string>;
  { call.outputs() } -> std::same_as<std::vector<xf::AnyBuffer>>;
};

/// One rank's program of `call`.
template <Backend B, RoutineCall Call>
RankProgram<B> program_of(const Call& call) {
  return visit(call.dtype(), [&]<class T>() { return call.template program<B, T>(); });
}

/// XLA's error code for what was thrown.
xf::Error to_ffi_error(const std::exception_ptr& error);

/// The scalar type of a buffer; throws InvalidArgument for others than the four.
DType dtype_of(const xf::AnyBuffer& buffer, const char* name);

/// "float64[225,1800]".
std::string describe(const xf::AnyBuffer& buffer);

/// Throws InvalidArgument, with what came, unless `good`.
void expect(bool good, const char* name, const xf::AnyBuffer& buffer);

/// Throws InvalidArgument unless it is a rank's shard of a square matrix: (n_loc, n_loc ranks).
void expect_shard(const char* name, const xf::AnyBuffer& buffer, int ranks);

/// Throws OutOfMemory if there are less than `needed` bytes.
void expect_workspace(const xf::AnyBuffer& workspace, std::size_t needed);

/// `needed` bytes: XLA's, or, where CPU ranks are in several processes and the program was traced
/// for one, memory of our own.
std::shared_ptr<void> workspace_of(const xf::AnyBuffer& workspace, std::size_t needed,
                                   Platform platform);

/// The numbers of a buffer.
template <class T>
T* data_of(const xf::AnyBuffer& buffer) {
  return static_cast<T*>(buffer.untyped_data());
}

/// The one number, of type T, that a result holds. Throws InvalidArgument if it holds others.
template <class T>
T* number_of(const xf::AnyBuffer& buffer, const char* name) {
  bool good = buffer.element_count() == 1;
  if constexpr (std::same_as<std::remove_const_t<T>, std::int32_t>) {
    good = good && buffer.element_type() == xf::DataType::S32;
  } else {
    good = good && dtype_of(buffer, name) == jaxmg::dtype_of<T>();
  }
  expect(good, name, buffer);
  return data_of<T>(buffer);
}

/// Throws InvalidArgument unless `buffer` has as many elements as `other`, of the same type.
void expect_like(const xf::AnyBuffer& other, const char* name, const xf::AnyBuffer& buffer);

/// JAX's matrix (columns, rows), row-major, as the rows x columns that it is here; a vector is a
/// row.
template <class T>
MatrixView<T> matrix_of(const xf::AnyBuffer& buffer) {
  const auto dimensions = buffer.dimensions();
  const index_t rows = dimensions.size() == 1 ? 1 : dimensions[1];
  return {data_of<T>(buffer), rows, dimensions[0], rows};
}

/// What a call keeps once it is decoded; the base of most RoutineCalls.
template <class Buffers, class Problem>
class DecodedCall {
 public:
  DType dtype() const { return dtype_; }

 protected:
  DecodedCall(Platform platform, const Buffers& buffers, DType dtype, const Problem& problem)
      : platform_(platform), buffers_(buffers), dtype_(dtype), problem_(problem) {}

  /// `needed` bytes for one rank; see workspace_of().
  std::shared_ptr<void> workspace(std::size_t needed) const {
    return workspace_of(buffers_.workspace, needed, platform_);
  }

  Platform platform_;
  Buffers buffers_;
  DType dtype_;
  Problem problem_;
};

/// `binding` with so many operands and results more. Bindings cannot be moved.
template <std::size_t operands, std::size_t results, class Binding>
auto bind_buffers(Binding binding) {
  static_assert(results > 0);
  if constexpr (operands > 0) {
    return bind_buffers<operands - 1, results>(std::move(binding).template Arg<xf::AnyBuffer>());
  } else if constexpr (results > 1) {
    return bind_buffers<0, results - 1>(std::move(binding).template Ret<xf::AnyBuffer>());
  } else {
    return std::move(binding).template Ret<xf::AnyBuffer>();
  }
}

}  // namespace jaxmg::ffi

namespace xla::ffi {

template <>
struct internal::Decode<internal::AttrsTag<jaxmg::ffi::CallAttributes>> {
  static std::optional<jaxmg::ffi::CallAttributes> call(DecodingOffsets&, DecodingContext& ctx,
                                                        DiagnosticEngine&) {
    return jaxmg::ffi::CallAttributes(&ctx.call_frame->attrs);
  }
};

}  // namespace xla::ffi
