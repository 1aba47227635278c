// Every call of a CUDA library goes through BASELINES_CUDA: what fails is an exception that names
// it.
#pragma once

#include <cublas_v2.h>
#include <cuda_runtime_api.h>
#include <cusolver_common.h>

namespace jaxmg_baselines {

void check(cudaError_t status, const char* call, const char* file, int line);
void check(cublasStatus_t status, const char* call, const char* file, int line);
void check(cusolverStatus_t status, const char* call, const char* file, int line);

}  // namespace jaxmg_baselines

#define BASELINES_CUDA(call) ::jaxmg_baselines::check((call), #call, __FILE__, __LINE__)
