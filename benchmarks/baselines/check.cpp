#include "check.hpp"

#include <stdexcept>
#include <string>

namespace jaxmg_baselines {
namespace {

[[noreturn]] void fail(const std::string& what, const char* call, const char* file, int line) {
  const std::string path(file);
  throw std::runtime_error(what + " from " + call + " at " +
                           path.substr(path.find_last_of('/') + 1) + ":" + std::to_string(line));
}

}  // namespace

void check(cudaError_t status, const char* call, const char* file, int line) {
  if (status == cudaSuccess) return;
  cudaGetLastError();  // or the next call that looks for errors reports this one again
  fail(std::string(cudaGetErrorName(status)) + ": " + cudaGetErrorString(status), call, file, line);
}

void check(cublasStatus_t status, const char* call, const char* file, int line) {
  if (status != CUBLAS_STATUS_SUCCESS) fail(cublasGetStatusString(status), call, file, line);
}

void check(cusolverStatus_t status, const char* call, const char* file, int line) {
  if (status == CUSOLVER_STATUS_SUCCESS) return;
  fail("cusolverStatus_t " + std::to_string(static_cast<int>(status)), call, file, line);
}

}  // namespace jaxmg_baselines
