#include "device/cuda/driver.hpp"

#include <string>

#include "jaxmg/error.hpp"

namespace jaxmg::cuda {
namespace {

/// The oldest driver that CUDA 12 runs with has all of them.
constexpr unsigned driver_version = 12000;

void* find(const char* name) {
  void* function = nullptr;
  cudaDriverEntryPointQueryResult found{};
  JAXMG_CUDA(
      cudaGetDriverEntryPointByVersion(name, &function, driver_version, cudaEnableDefault, &found));
  if (function == nullptr || found != cudaDriverEntryPointSuccess) {
    throw DeviceError(std::string("the NVIDIA driver has no ") + name);
  }
  return function;
}

Driver find_all() {
  Driver functions;
#define JAXMG_FIND(function) \
  functions.function = reinterpret_cast<decltype(functions.function)>(find(#function));
  JAXMG_DRIVER_FUNCTIONS(JAXMG_FIND)
#undef JAXMG_FIND
  return functions;
}

}  // namespace

const Driver& driver() {
  static const Driver functions = find_all();
  return functions;
}

void check(CUresult status, const char* call) {
  if (status == CUDA_SUCCESS) return;
  const char* text = nullptr;
  driver().cuGetErrorString(status, &text);
  const std::string what = std::string(call) + ": CUresult " +
                           std::to_string(static_cast<int>(status)) + " (" +
                           (text == nullptr ? "unknown error" : text) + ")";
  if (status == CUDA_ERROR_OUT_OF_MEMORY) throw OutOfMemory(what);
  throw DeviceError(what + advice_after_error());
}

}  // namespace jaxmg::cuda
