#include "engines/cusolvermg/sharing.hpp"

#include <cstring>
#include <random>
#include <type_traits>

#include "device/cuda/current_device.hpp"
#include "device/cuda/device.hpp"
#include "device/cuda/physical_memory.hpp"
#include "jaxmg/error.hpp"

namespace jaxmg::cusolvermg {

using cuda::CurrentDevice;
using cuda::driver;
using processes::Descriptor;

namespace {

// ---- By a rank ----------------------------------------------------------------------------------

bool is_for_ipc(CUdeviceptr base) {
  int is = 0;
  JAXMG_CUDA(
      driver().cuPointerGetAttribute(&is, CU_POINTER_ATTRIBUTE_IS_LEGACY_CUDA_IPC_CAPABLE, base));
  return is != 0;
}

Descriptor descriptor_of(void* base) {
  CUmemGenericAllocationHandle allocation = 0;
  JAXMG_CUDA(driver().cuMemRetainAllocationHandle(&allocation, base));
  return Descriptor(cuda::PhysicalMemory(allocation).descriptor());
}

/// Says in `said` how another process gets at its memory; what goes with that.
std::shared_ptr<const Descriptor> share(Offer& said) {
  CUdeviceptr start = 0;
  std::size_t bytes = 0;
  JAXMG_CUDA(driver().cuMemGetAddressRange(&start, &bytes, said.address));
  said.offset = said.address - start;
  said.bytes = bytes;
  auto* const base = reinterpret_cast<void*>(start);
  if (is_for_ipc(start)) {
    said.way = Way::handle;
    JAXMG_CUDA(cudaIpcGetMemHandle(&said.handle, base));
    return nullptr;
  }
  said.way = Way::descriptor;
  return std::make_shared<const Descriptor>(descriptor_of(base));
}

// ---- By rank 0 ----------------------------------------------------------------------------------

int ordinal_of(const Offer& said) {
  int ordinal = 0;
  const cudaError_t status = cudaDeviceGetByPCIBusId(&ordinal, said.bus.data());
  if (status == cudaSuccess) return ordinal;
  cudaGetLastError();
  throw DeviceError(std::string("GPU ") + said.bus.data() +
                    " of another process is not among those that rank 0's process sees (" +
                    cudaGetErrorName(status) +
                    "); let all processes see all GPUs of the host: instead of "
                    "CUDA_VISIBLE_DEVICES, jax.distributed.initialize takes local_device_ids");
}

/// An allocation as this process sees it, as long as it is held. Handles are counted by CUDA: one
/// that is open already gives the same address again.
std::shared_ptr<std::byte> open(int device, const cudaIpcMemHandle_t& handle) {
  void* base = nullptr;
  JAXMG_CUDA(cudaIpcOpenMemHandle(&base, handle, cudaIpcMemLazyEnablePeerAccess));
  return {static_cast<std::byte*>(base), [device](std::byte* opened) {
            try {
              const CurrentDevice current(device);
              cudaIpcCloseMemHandle(opened);
            } catch (const Error&) {
              // The GPU is lost, and so is the process.
            }
            cudaGetLastError();
          }};
}

/// The same, by a descriptor. Which GPUs may read and write there is said for each mapping.
std::shared_ptr<std::byte> map(int device, std::size_t bytes, const Descriptor& descriptor) {
  std::shared_ptr<std::byte> mapped = cuda::map(cuda::import_physical(descriptor.get()), bytes);
  for (int peer = 0; peer < cuda::device_count(); ++peer) {
    int reachable = 1;
    if (peer != device) JAXMG_CUDA(cudaDeviceCanAccessPeer(&reachable, peer, device));
    if (reachable != 0) cuda::let_use(mapped.get(), bytes, peer);
  }
  return mapped;
}

std::shared_ptr<std::byte> allocation_of(const Offer& said, const Note& offered, int device) {
  const CurrentDevice current(device);
  if (said.way == Way::handle) return open(device, said.handle);
  if (!offered.passed || offered.passed->empty()) throw DeviceError("no descriptor has come");
  return map(device, said.bytes, *offered.passed);
}

}  // namespace

Offer Offer::of(const Note& note) {
  static_assert(std::is_trivially_copyable_v<Offer>);
  Offer said{};
  if (note.text.size() != sizeof said) throw Error("another version's offer of memory");
  std::memcpy(&said, note.text.data(), sizeof said);
  return said;
}

std::string Offer::text() const { return {reinterpret_cast<const char*>(this), sizeof *this}; }

const std::string& this_process() {
  static const std::string name = [] {
    std::random_device random;
    std::string words;
    for (int i = 0; i < 4; ++i) words += std::to_string(random()) + ' ';
    return words;
  }();
  return name;
}

Note offer(int device, void* memory, const std::string& to) {
  Offer said{};
  said.way = Way::address;
  said.device = device;
  said.address = reinterpret_cast<std::uintptr_t>(memory);
  if (to == this_process()) return {said.text(), nullptr};
  const CurrentDevice current(device);
  JAXMG_CUDA(cudaDeviceGetPCIBusId(said.bus.data(), static_cast<int>(said.bus.size()), device));
  try {
    auto passed = share(said);
    return {said.text(), std::move(passed)};
  } catch (const DeviceError& error) {
    throw DeviceError("memory of GPU " + std::to_string(device) +
                      " cannot be shared with other processes (" + error.what() +
                      "), which cuSOLVERMg needs; that of JAX's default allocator can: unset "
                      "XLA_PYTHON_CLIENT_ALLOCATOR");
  }
}

Reached reach(const Note& offered) {
  const Offer said = Offer::of(offered);
  if (said.way == Way::address) {
    return {said.device, {std::shared_ptr<void>(), reinterpret_cast<void*>(said.address)}};
  }
  const int device = ordinal_of(said);
  try {
    const std::shared_ptr<std::byte> allocation = allocation_of(said, offered, device);
    return {device, {allocation, allocation.get() + said.offset}};
  } catch (const DeviceError& error) {
    throw DeviceError("memory of GPU " + std::to_string(device) +
                      ", another process's, cannot be reached (" + error.what() +
                      "), which cuSOLVERMg needs");
  }
}

}  // namespace jaxmg::cusolvermg
