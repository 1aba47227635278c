#include "device/cuda/check.hpp"

#include <string>
#include <string_view>

#include "jaxmg/error.hpp"

namespace jaxmg::cuda {
namespace {

struct Failing {
  std::string_view prefix;
  int count = 0;
  cudaError_t status = cudaSuccess;

  cudaError_t instead_of(cudaError_t returned, std::string_view call) {
    if (call.substr(0, prefix.size()) != prefix || --count != 0) return returned;
    return status;
  }
};

thread_local Failing failing;

}  // namespace

/// Whether the context is lost: a call that cannot fail by itself fails too.
bool device_is_lost() {
  cudaGetLastError();
  return cudaStreamQuery(cudaStreamLegacy) != cudaSuccess && cudaGetLastError() != cudaSuccess &&
         cudaFree(nullptr) != cudaSuccess;
}

const char* advice_after_error() {
  return device_is_lost() ? "; the device can no longer be used by this process, which must be "
                            "restarted"
                          : "";
}

FailingCall::FailingCall(const char* prefix, int count, cudaError_t status) {
  failing = {prefix, count, status};
}

FailingCall::~FailingCall() { failing = {}; }

void check(cudaError_t status, const char* call) {
  if (failing.count > 0) status = failing.instead_of(status, call);
  if (status == cudaSuccess) return;
  const std::string what =
      std::string(call) + ": " + cudaGetErrorName(status) + " (" + cudaGetErrorString(status) + ")";
  cudaGetLastError();
  if (status == cudaErrorMemoryAllocation) throw OutOfMemory(what);
  throw DeviceError(what + advice_after_error());
}

void check(cublasStatus_t status, const char* call) {
  if (status == CUBLAS_STATUS_SUCCESS) return;
  const std::string what = std::string(call) + ": " + cublasGetStatusName(status);
  if (status == CUBLAS_STATUS_ALLOC_FAILED) throw OutOfMemory(what);
  throw DeviceError(what + advice_after_error());
}

void check(cusolverStatus_t status, const char* call) {
  if (status == CUSOLVER_STATUS_SUCCESS) return;
  const std::string what =
      std::string(call) + ": cusolverStatus_t " + std::to_string(static_cast<int>(status));
  if (status == CUSOLVER_STATUS_ALLOC_FAILED) throw OutOfMemory(what);
  throw DeviceError(what + advice_after_error());
}

}  // namespace jaxmg::cuda
