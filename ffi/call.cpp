#include "call.hpp"

#include <atomic>
#include <exception>
#include <new>

namespace jaxmg::ffi {
namespace {

std::atomic<int> faulty_rank{-1};

}  // namespace

void inject_fault(int rank) { faulty_rank = rank; }

RankProgram<cpu::Backend> with_injected_fault(int rank, RankProgram<cpu::Backend> program) {
  int expected = rank;
  if (!faulty_rank.compare_exchange_strong(expected, -1)) return program;
  return [](Rank<cpu::Backend>& self) {
    self.panel().enqueue([] { throw Error("injected fault"); });
    self.synchronize();
  };
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

}  // namespace jaxmg::ffi
