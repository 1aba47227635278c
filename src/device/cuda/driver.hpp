// The few functions of CUDA's driver that the runtime has no form of. They are asked for by name,
// so that nothing is linked to the driver and programs start without one.
#pragma once

#include <cuda.h>

#include "device/cuda/check.hpp"

namespace jaxmg::cuda {

#define JAXMG_DRIVER_FUNCTIONS(X)   \
  X(cuGetErrorString)               \
  X(cuMemAddressFree)               \
  X(cuMemAddressReserve)            \
  X(cuMemCreate)                    \
  X(cuMemExportToShareableHandle)   \
  X(cuMemGetAddressRange)           \
  X(cuMemImportFromShareableHandle) \
  X(cuMemMap)                       \
  X(cuMemRelease)                   \
  X(cuMemRetainAllocationHandle)    \
  X(cuMemSetAccess)                 \
  X(cuMemUnmap)                     \
  X(cuPointerGetAttribute)          \
  X(cuStreamWaitValue64)            \
  X(cuStreamWriteValue64)

struct Driver {
#define JAXMG_DECLARE(function) decltype(&::function) function = nullptr;
  JAXMG_DRIVER_FUNCTIONS(JAXMG_DECLARE)
#undef JAXMG_DECLARE
};

/// Throws DeviceError if the driver is not there, or is too old.
const Driver& driver();

/// As for the runtime's statuses.
void check(CUresult status, const char* call);

}  // namespace jaxmg::cuda
