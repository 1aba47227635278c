// The few functions of NCCL that are used, from the library that JAX has loaded. It is asked for
// when it is first needed: most programs never do.
#pragma once

#include <cstddef>

#include "device/cuda/check.hpp"

namespace jaxmg::nccl {

// As in nccl.h of all versions from 2.18 on, which is no part of CUDA's toolkits.

struct Communicator_;
using Communicator = Communicator_*;
struct UniqueId {
  char bytes[128];
};
enum class Result : int { success = 0, in_progress = 7 };
enum class DataType : int { bytes = 0 };

#define JAXMG_NCCL_FUNCTIONS(X)                                                                   \
  X(GetErrorString, const char*, Result)                                                          \
  X(GetUniqueId, Result, UniqueId*)                                                               \
  X(CommInitRank, Result, Communicator*, int ranks, UniqueId, int rank)                           \
  X(CommGetAsyncError, Result, Communicator, Result*)                                             \
  X(CommAbort, Result, Communicator)                                                              \
  X(Send, Result, const void*, std::size_t count, DataType, int peer, Communicator, cudaStream_t) \
  X(Recv, Result, void*, std::size_t count, DataType, int peer, Communicator, cudaStream_t)

struct Library {
#define JAXMG_DECLARE(name, result, ...) result (*name)(__VA_ARGS__) = nullptr;
  JAXMG_NCCL_FUNCTIONS(JAXMG_DECLARE)
#undef JAXMG_DECLARE
};

/// Loaded once; a failure is tried again by the next call. Throws DeviceError with what was tried.
const Library& library();

/// Throws DeviceError, with the call's text, unless it is success.
void check(Result status, const char* call);

}  // namespace jaxmg::nccl

/// A call of NCCL's, of `function` without its prefix.
#define JAXMG_NCCL(function, ...) \
  ::jaxmg::nccl::check(::jaxmg::nccl::library().function(__VA_ARGS__), "nccl" #function)
