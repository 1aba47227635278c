// Every call of CUDA, cuBLAS and cuSOLVER goes through JAXMG_CUDA.
#pragma once

#include <cublas_v2.h>
#include <cuda_runtime_api.h>
#include <cusolverDn.h>

namespace jaxmg::cuda {

/// Throw OutOfMemory or DeviceError, with the call's text, unless the status is success. After an
/// error that leaves the device unusable the message says that the process must be restarted.
void check(cudaError_t status, const char* call);
void check(cublasStatus_t status, const char* call);
void check(cusolverStatus_t status, const char* call);

/// Whether this process can no longer use the current device.
bool device_is_lost();
/// What to add to an error's message: empty unless the device is lost.
const char* advice_after_error();

/// For tests, while it lives: the `count`-th CUDA call of this thread whose text begins with
/// `prefix` is taken to have returned `status`.
class FailingCall {
 public:
  FailingCall(const char* prefix, int count, cudaError_t status);
  ~FailingCall();
  FailingCall(const FailingCall&) = delete;
  FailingCall& operator=(const FailingCall&) = delete;
};

}  // namespace jaxmg::cuda

#define JAXMG_CUDA(call) ::jaxmg::cuda::check((call), #call)
