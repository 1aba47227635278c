#include "engines/cusolvermg/library.hpp"

#include <memory>
#include <mutex>

#include <dlfcn.h>

#include "jaxmg/error.hpp"

namespace jaxmg::cusolvermg {
namespace {

#define JAXMG_TEXT_OF(x) #x
#define JAXMG_TEXT(x) JAXMG_TEXT_OF(x)
/// cuSOLVER and cuSOLVERMg count versions together: libcusolverMg.so.12 is CUDA 13's.
constexpr const char* soname = "libcusolverMg.so." JAXMG_TEXT(CUSOLVER_VER_MAJOR);
#undef JAXMG_TEXT
#undef JAXMG_TEXT_OF

/// The file `soname` in the folder of this process's cuSOLVER, or "" if that is not to be found.
std::string beside_cusolver() {
  Dl_info info{};
  if (dladdr(reinterpret_cast<void*>(&cusolverDnCreate), &info) == 0) return "";
  const std::string file = info.dli_fname == nullptr ? "" : info.dli_fname;
  const auto folder = file.rfind('/');
  return folder == std::string::npos ? "" : file.substr(0, folder + 1) + soname;
}

std::string last_error() {
  const char* const text = dlerror();
  return text == nullptr ? "unknown error" : text;
}

}  // namespace

Library load(const std::vector<std::string>& files) {
  std::string tried;
  for (const std::string& file : files) {
    if (file.empty()) continue;
    void* const handle = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (handle == nullptr) {
      tried += (tried.empty() ? "" : "; ") + last_error();
      continue;
    }
    Library functions;
    std::string missing;
#define JAXMG_FIND(function)                                                                     \
  functions.function = reinterpret_cast<decltype(functions.function)>(dlsym(handle, #function)); \
  if (functions.function == nullptr) missing = missing.empty() ? #function : missing;
    JAXMG_CUSOLVERMG_FUNCTIONS(JAXMG_FIND)
#undef JAXMG_FIND
    if (missing.empty()) return functions;
    tried += (tried.empty() ? "" : "; ") + file + " has no " + missing;
    dlclose(handle);
  }
  throw DeviceError(std::string("cuSOLVERMg cannot be used: ") + tried + "; " + soname +
                    " comes with CUDA's cuSOLVER, in the wheel that \"jax[cuda" +
                    std::to_string(CUSOLVER_VER_MAJOR + 1) + "]\" depends on or in the toolkit");
}

const Library& library() {
  static std::mutex mutex;
  static const Library* loaded = nullptr;
  std::unique_lock lock(mutex);
  // Never unloaded: at exit the driver may be gone before us.
  if (loaded == nullptr) loaded = new Library(load({beside_cusolver(), soname}));
  return *loaded;
}

}  // namespace jaxmg::cusolvermg
