// What every CPU handler shares: decoding, the rendezvous, errors.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "jaxmg/error.hpp"
#include "team/rendezvous.hpp"
#include "xla/ffi/api/ffi.h"

namespace jaxmg::ffi {

namespace xf = ::xla::ffi;

/// All attributes of a call, and the address where XLA keeps them: equal on all devices of one
/// execution and distinct for each call in it, also for calls that were traced only once.
class CallAttributes : public xf::Dictionary {
 public:
  explicit CallAttributes(const XLA_FFI_Attrs* attrs)
      : xf::Dictionary(attrs), instance_(reinterpret_cast<std::uintptr_t>(attrs->attrs)) {}

  std::uintptr_t instance() const { return instance_; }

  /// Throws InvalidArgument if there is no int64 of that name.
  index_t integer(const char* name) const {
    const auto value = get<std::int64_t>(name);
    if (value.has_value()) return *value;
    throw InvalidArgument(std::string(name) + ": expected an int64 attribute; the Python package " +
                          "and its compiled library do not belong together");
  }

 private:
  std::uintptr_t instance_;
};

/// Where a handler was called, and as which rank of which team: operands, since one compiled
/// program may serve several device sets.
struct CallSite {
  CallKey key;
  int rank;
  int size;
};

inline CallSite call_site(xf::RunId run, const CallAttributes& attributes, xf::AnyBuffer rank,
                          xf::AnyBuffer group) {
  const auto scalar = [](const xf::AnyBuffer& buffer, const char* name) {
    if (buffer.element_type() != xf::DataType::S32 || buffer.element_count() != 1) {
      throw InvalidArgument(std::string(name) + ": expected one int32");
    }
    return *buffer.typed_data<std::int32_t>();
  };
  CallSite site{{run.run_id, attributes.instance(), scalar(group, "group")},
                scalar(rank, "rank"),
                static_cast<int>(attributes.integer("ranks"))};
  if (site.rank < 0 || site.rank >= site.size) {
    throw InvalidArgument("rank: expected 0 to " + std::to_string(site.size - 1) + ", got " +
                          std::to_string(site.rank));
  }
  return site;
}

/// XLA's error code for what was thrown.
xf::Error to_ffi_error(const std::exception_ptr& error);

/// For tests: the next call's `rank` fails in the middle, its peers being at work. -1: none.
void inject_fault(int rank);

/// `program`, or one that fails if a fault has been injected for `rank`.
RankProgram<cpu::Backend> with_injected_fault(int rank, RankProgram<cpu::Backend> program);

/// Joins the call; the future completes when this rank is done, on the rank's own thread.
/// `make_program` validates this rank's operands and returns its program; if it throws, the whole
/// call fails with that on every rank.
template <class MakeProgram>
xf::Future join(const CallSite& site, std::string call, MakeProgram make_program) {
  const auto promise = std::make_shared<xf::Promise>();
  xf::Future future(*promise);
  Arrival<RankTask> arrival{site.rank, site.size, std::move(call), {}, nullptr};
  try {
    arrival.task.program = with_injected_fault(site.rank, make_program());
  } catch (...) {
    arrival.failure = std::current_exception();
  }
  arrival.task.done = [promise](const std::exception_ptr& failure) {
    if (failure) {
      promise->SetError(to_ffi_error(failure));
    } else {
      promise->SetAvailable();
    }
  };
  arrive(site.key, std::move(arrival));
  return future;
}

/// Runs a handler's body; what it throws before it could join becomes a failed future.
template <class Body>
xf::Future guarded(Body body) {
  try {
    return body();
  } catch (...) {
    xf::Promise promise;
    xf::Future future(promise);
    promise.SetError(to_ffi_error(std::current_exception()));
    return future;
  }
}

/// The scalar type of a buffer; throws InvalidArgument for others than the four.
DType dtype_of(const xf::AnyBuffer& buffer, const char* name);

/// "float64[225,1800]".
std::string describe(const xf::AnyBuffer& buffer);

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
