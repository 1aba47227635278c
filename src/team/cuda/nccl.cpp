#include "team/cuda/nccl.hpp"

#include <mutex>
#include <string>

#include <dlfcn.h>

#include "jaxmg/error.hpp"

namespace jaxmg::nccl {
namespace {

constexpr const char* soname = "libnccl.so.2";

Library load() {
  // JAX's plugin, or jaxmg's Python package, has loaded the wheel's; it is found by its name then.
  void* const handle = dlopen(soname, RTLD_NOW | RTLD_LOCAL);
  const char* const why = handle == nullptr ? dlerror() : nullptr;
  std::string missing = why == nullptr ? "" : why;
  Library functions;
#define JAXMG_FIND(name, ...)                                                                 \
  if (missing.empty()) {                                                                      \
    functions.name = reinterpret_cast<decltype(functions.name)>(dlsym(handle, "nccl" #name)); \
    if (functions.name == nullptr) missing = std::string(soname) + " has no nccl" #name;      \
  }
  JAXMG_NCCL_FUNCTIONS(JAXMG_FIND)
#undef JAXMG_FIND
  if (missing.empty()) return functions;
  throw DeviceError(
      "NCCL cannot be used: " + missing +
      "; GPUs of processes that share no memory need it: it comes with \"jax[cuda12]\" "
      "or \"jax[cuda13]\", in the wheel nvidia-nccl-cu12 or nvidia-nccl-cu13");
}

}  // namespace

const Library& library() {
  static std::mutex mutex;
  static const Library* loaded = nullptr;
  std::unique_lock lock(mutex);
  // Never unloaded: at exit the driver may be gone before us.
  if (loaded == nullptr) loaded = new Library(load());
  return *loaded;
}

void check(Result status, const char* call) {
  if (status == Result::success) return;
  throw DeviceError(std::string(call) + ": " + library().GetErrorString(status) +
                    " (NCCL_DEBUG=WARN says more)" + cuda::advice_after_error());
}

}  // namespace jaxmg::nccl
