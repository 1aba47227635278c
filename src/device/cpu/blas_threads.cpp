// Asks the BLAS that is loaded for its thread count.
#include <algorithm>
#include <string_view>
#include <vector>

#include <dlfcn.h>
#include <link.h>

#include "device/cpu/blas.hpp"

namespace jaxmg::cpu {
namespace {

using GetThreads = int (*)();

/// The names with 32-bit integers only: NumPy's own OpenBLAS has 64-bit ones and is another copy.
constexpr const char* names[] = {"scipy_openblas_get_num_threads", "openblas_get_num_threads",
                                 "MKL_Get_Max_Threads", "bli_thread_get_num_threads"};

int collect(dl_phdr_info* info, std::size_t, void* found) {
  const std::string_view path(info->dlpi_name);
  const bool blas = path.find("blas") != path.npos || path.find("mkl") != path.npos ||
                    path.find("blis") != path.npos;
  if (!blas) return 0;
  if (void* library = dlopen(info->dlpi_name, RTLD_LAZY | RTLD_NOLOAD)) {
    for (const char* name : names) {
      if (void* symbol = dlsym(library, name)) {
        static_cast<std::vector<GetThreads>*>(found)->push_back(
            reinterpret_cast<GetThreads>(symbol));
        break;
      }
    }
    dlclose(library);
  }
  return 0;
}

}  // namespace

int blas_threads() {
  static const std::vector<GetThreads> asked = [] {
    std::vector<GetThreads> found;
    dl_iterate_phdr(collect, &found);
    return found;
  }();
  int threads = 1;
  for (const GetThreads get : asked) threads = std::max(threads, get());
  return threads;
}

}  // namespace jaxmg::cpu
