#include "call.hpp"

#include <atomic>
#include <exception>
#include <new>
#include <string_view>

#include "device/cpu/allocate.hpp"

namespace jaxmg::ffi {
namespace {

using Watcher = void (*)(std::int64_t run, std::uint64_t instance, std::int32_t rank);
std::atomic<Watcher> watcher{nullptr};

}  // namespace

std::string CallAttributes::contents() const {
  std::string all;
  for (std::int64_t i = 0; i < attributes_->size; ++i) {
    const std::string_view name(attributes_->names[i]->ptr, attributes_->names[i]->len);
    const auto value = get<std::int64_t>(name);
    if (value.has_value()) all.append(name).append("=").append(std::to_string(*value)).append(" ");
  }
  return all;
}

CallSite call_site(xf::RunId run, const CallAttributes& attributes, std::int32_t rank,
                   std::int32_t group, Platform platform) {
  const CallSite site{{run.run_id, attributes.instance(), group},
                      rank,
                      static_cast<int>(attributes.integer("ranks")),
                      platform};
  if (const Watcher seen = watcher.load(std::memory_order_relaxed)) {
    seen(run.run_id, attributes.instance(), rank);
  }
  if (rank < 0 || rank >= site.size) {
    throw InvalidArgument("rank: expected 0 to " + std::to_string(site.size - 1) + ", got " +
                          std::to_string(rank));
  }
  return site;
}

xf::Error to_ffi_error(const std::exception_ptr& error) {
  try {
    std::rethrow_exception(error);
  } catch (const InvalidArgument& e) {
    return xf::Error(xf::ErrorCode::kInvalidArgument, e.what());
  } catch (const OutOfMemory& e) {
    return xf::Error(xf::ErrorCode::kResourceExhausted, e.what());
  } catch (const std::bad_alloc&) {
    return xf::Error(xf::ErrorCode::kResourceExhausted, "out of host memory");
  } catch (const TimeOut& e) {
    return xf::Error(xf::ErrorCode::kDeadlineExceeded, e.what());
  } catch (const DeviceError& e) {
    return xf::Error(xf::ErrorCode::kUnavailable, e.what());
  } catch (const TeamError& e) {
    return xf::Error(xf::ErrorCode::kAborted, e.what());
  } catch (const std::exception& e) {
    return xf::Error(xf::ErrorCode::kInternal, e.what());
  } catch (...) {
    return xf::Error(xf::ErrorCode::kInternal, "unknown error");
  }
}

DType dtype_of(const xf::AnyBuffer& buffer, const char* name) {
  switch (buffer.element_type()) {
    case xf::DataType::F32:
      return DType::f32;
    case xf::DataType::F64:
      return DType::f64;
    case xf::DataType::C64:
      return DType::c64;
    case xf::DataType::C128:
      return DType::c128;
    default:
      throw InvalidArgument(std::string(name) +
                            ": expected float32, float64, complex64 or complex128");
  }
}

std::string describe(const xf::AnyBuffer& buffer) {
  std::string text = to_string(dtype_of(buffer, "buffer"));
  text += '[';
  for (std::size_t i = 0; i < buffer.dimensions().size(); ++i) {
    text += (i == 0 ? "" : ",") + std::to_string(buffer.dimensions()[i]);
  }
  return text + ']';
}

void expect(bool good, const char* name, const xf::AnyBuffer& buffer) {
  if (!good) throw InvalidArgument(std::string(name) + ": unexpected " + describe(buffer));
}

void expect_like(const xf::AnyBuffer& other, const char* name, const xf::AnyBuffer& buffer) {
  expect(buffer.element_type() == other.element_type() &&
             buffer.element_count() == other.element_count(),
         name, buffer);
}

void expect_shard(const char* name, const xf::AnyBuffer& buffer, int ranks) {
  const auto dimensions = buffer.dimensions();
  expect(dimensions.size() == 2 && dimensions[0] * ranks == dimensions[1], name, buffer);
}

void expect_workspace(const xf::AnyBuffer& workspace, std::size_t needed) {
  if (workspace.size_bytes() >= needed) return;
  throw OutOfMemory("workspace: expected at least " + std::to_string(needed) + " bytes, got " +
                    std::to_string(workspace.size_bytes()));
}

std::shared_ptr<void> workspace_of(const xf::AnyBuffer& workspace, std::size_t needed,
                                   Platform platform) {
  if (platform == Platform::cpu_processes && workspace.size_bytes() < needed) {
    return cpu::allocate<std::byte>(static_cast<index_t>(needed));
  }
  expect_workspace(workspace, needed);
  return {std::shared_ptr<void>(), workspace.untyped_data()};
}

}  // namespace jaxmg::ffi

/// For tests: from now on `seen` is told of each call that a rank comes to, on that rank's thread;
/// null switches it off.
extern "C" void jaxmg_watch_call_sites(jaxmg::ffi::Watcher seen) { jaxmg::ffi::watcher = seen; }
