#include "device/cuda/kernel_file.hpp"

#include <map>
#include <mutex>
#include <string>
#include <utility>

#include "device/cuda/check.hpp"
#include "jaxmg/error.hpp"

namespace jaxmg::cuda {
namespace {

/// What has been loaded, for all devices at once. Never unloaded: at exit the driver may be gone
/// before us.
struct Libraries {
  std::mutex mutex;
  std::map<const KernelBinary*, cudaLibrary_t> loaded;
};

Libraries& all_libraries() {
  static Libraries* const all = new Libraries;
  return *all;
}

int architecture_of(int device) {
  int major = 0, minor = 0;
  JAXMG_CUDA(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device));
  JAXMG_CUDA(cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device));
  return 10 * major + minor;
}

const KernelBinary& binary_for(const detail::FileDescription& file, int architecture) {
  const int chosen = choose_binary(file.binaries, file.binary_count, architecture);
  if (chosen >= 0) return file.binaries[chosen];
  std::string known;
  for (std::size_t i = 0; i < file.binary_count; ++i) {
    known += (i > 0 ? ", " : "") + std::to_string(file.binaries[i].architecture);
  }
  throw DeviceError(
      "jaxmg's kernels were compiled for compute capabilities " + known +
      " and do not run on this GPU's, " + std::to_string(architecture) +
      "; build jaxmg with -DJAXMG_CUDA_ARCHITECTURES=" + std::to_string(architecture));
}

}  // namespace

int choose_binary(const KernelBinary* binaries, std::size_t count, int architecture) {
  int chosen = -1;
  for (std::size_t i = 0; i < count; ++i) {
    const KernelBinary& binary = binaries[i];
    const bool serves = binary.architecture <= architecture &&
                        (binary.is_ptx || binary.architecture / 10 == architecture / 10);
    if (!serves) continue;
    const auto rank = [](const KernelBinary& b) { return std::pair(!b.is_ptx, b.architecture); };
    if (chosen < 0 || rank(binaries[chosen]) < rank(binary)) chosen = static_cast<int>(i);
  }
  return chosen;
}

cudaKernel_t detail::load(const FileDescription& file, int kernel, KnownKernels& known) {
  int device = 0;
  JAXMG_CUDA(cudaGetDevice(&device));
  std::atomic<cudaKernel_t>& mine = known.on_device[device];
  if (cudaKernel_t found = mine.load(std::memory_order_acquire)) return found;

  const KernelBinary& binary = binary_for(file, architecture_of(device));
  Libraries& libraries = all_libraries();
  const std::unique_lock lock(libraries.mutex);
  cudaLibrary_t& library = libraries.loaded[&binary];
  if (library == nullptr) {
    JAXMG_CUDA(
        cudaLibraryLoadData(&library, binary.data, nullptr, nullptr, 0, nullptr, nullptr, 0));
  }
  cudaKernel_t found = nullptr;
  JAXMG_CUDA(cudaLibraryGetKernel(&found, library, file.entries[kernel].symbol));
  mine.store(found, std::memory_order_release);
  return found;
}

void detail::launch(cudaKernel_t kernel, const Grid& grid, void** arguments) {
  constexpr std::size_t without_asking = 48 * 1024;
  const auto* const function = static_cast<const void*>(kernel);
  if (grid.shared_bytes > without_asking) {
    JAXMG_CUDA(cudaFuncSetAttribute(function, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                    static_cast<int>(grid.shared_bytes)));
  }
  JAXMG_CUDA(cudaLaunchKernel(function, grid.blocks, grid.threads, arguments, grid.shared_bytes,
                              grid.stream));
}

}  // namespace jaxmg::cuda
