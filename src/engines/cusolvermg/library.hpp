// cuSOLVERMg's library, which is loaded when it is first used: most programs never need it.
#pragma once

#include <string>
#include <vector>

// It is deprecated from CUDA 13 on, without a successor for one process.
#define DISABLE_CUSOLVERMG_DEPRECATED
#include <cusolverMg.h>

namespace jaxmg::cusolvermg {

/// The functions that are used of it.
#define JAXMG_CUSOLVERMG_FUNCTIONS(X) \
  X(cusolverMgCreate)                 \
  X(cusolverMgDestroy)                \
  X(cusolverMgDeviceSelect)           \
  X(cusolverMgCreateDeviceGrid)       \
  X(cusolverMgDestroyGrid)            \
  X(cusolverMgCreateMatrixDesc)       \
  X(cusolverMgDestroyMatrixDesc)      \
  X(cusolverMgPotrf_bufferSize)       \
  X(cusolverMgPotrf)                  \
  X(cusolverMgPotrs_bufferSize)       \
  X(cusolverMgPotrs)                  \
  X(cusolverMgPotri_bufferSize)       \
  X(cusolverMgPotri)                  \
  X(cusolverMgSyevd_bufferSize)       \
  X(cusolverMgSyevd)

struct Library {
#define JAXMG_DECLARE(function) decltype(&::function) function = nullptr;
  JAXMG_CUSOLVERMG_FUNCTIONS(JAXMG_DECLARE)
#undef JAXMG_DECLARE
};

/// The first of `files` that can be loaded, for good. Throws DeviceError, with all that was tried.
Library load(const std::vector<std::string>& files);

/// The library beside this process's cuSOLVER (one wheel, and one folder of a toolkit, have both),
/// else where the system looks. Loaded once; a failure is tried again by the next call.
const Library& library();

}  // namespace jaxmg::cusolvermg
