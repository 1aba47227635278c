#include "device/cuda/memory.hpp"

#include <string>

#include "device/cuda/current_device.hpp"
#include "jaxmg/error.hpp"

namespace jaxmg::cuda {
namespace {

/// Waits for the GPU. May run at exit, when the driver is gone, or after the GPU was lost: then
/// there is nothing to free and nobody to tell.
void release(int ordinal, void* memory) {
  try {
    const CurrentDevice current(ordinal);
    cudaFree(memory);
  } catch (const Error&) {
  }
  cudaGetLastError();
}

}  // namespace

std::shared_ptr<void> allocate(int ordinal, std::size_t bytes) {
  if (bytes == 0) return nullptr;
  const CurrentDevice current(ordinal);
  void* memory = nullptr;
  const cudaError_t status = cudaMalloc(&memory, bytes);
  if (status == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    throw OutOfMemory("could not allocate " + std::to_string(bytes) + " bytes on GPU " +
                      std::to_string(ordinal));
  }
  check(status, "cudaMalloc");
  const std::shared_ptr<void> owner(memory, [ordinal](void* p) { release(ordinal, p); });
  JAXMG_CUDA(cudaMemset(memory, 0, bytes));
  JAXMG_CUDA(cudaStreamSynchronize(cudaStreamLegacy));
  return owner;
}

bool is_memory_of(int ordinal, const void* data) {
  if (data == nullptr) return true;
  cudaPointerAttributes attributes{};
  JAXMG_CUDA(cudaPointerGetAttributes(&attributes, data));
  return attributes.type == cudaMemoryTypeManaged ||
         (attributes.type == cudaMemoryTypeDevice && attributes.device == ordinal);
}

}  // namespace jaxmg::cuda
