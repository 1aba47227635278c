#include "device/cuda/physical_memory.hpp"

#include <cstdint>

namespace jaxmg::cuda {
namespace {

CUmemLocation location_of(int ordinal) {
  CUmemLocation location{};
  location.type = CU_MEM_LOCATION_TYPE_DEVICE;
  location.id = ordinal;
  return location;
}

}  // namespace

int PhysicalMemory::descriptor() const {
  int descriptor = -1;
  JAXMG_CUDA(driver().cuMemExportToShareableHandle(&descriptor, handle_, shared_by_descriptor, 0));
  return descriptor;
}

PhysicalMemory allocate_physical(int ordinal, std::size_t bytes) {
  CUmemAllocationProp properties{};
  properties.type = CU_MEM_ALLOCATION_TYPE_PINNED;
  properties.requestedHandleTypes = shared_by_descriptor;
  properties.location = location_of(ordinal);
  CUmemGenericAllocationHandle handle = 0;
  JAXMG_CUDA(driver().cuMemCreate(&handle, bytes, &properties, 0));
  return PhysicalMemory(handle);
}

PhysicalMemory import_physical(int descriptor) {
  CUmemGenericAllocationHandle handle = 0;
  JAXMG_CUDA(driver().cuMemImportFromShareableHandle(
      &handle, reinterpret_cast<void*>(static_cast<std::intptr_t>(descriptor)),
      shared_by_descriptor));
  return PhysicalMemory(handle);
}

std::shared_ptr<std::byte> map(const PhysicalMemory& memory, std::size_t bytes) {
  CUdeviceptr start = 0;
  JAXMG_CUDA(driver().cuMemAddressReserve(&start, bytes, 0, 0, 0));
  auto* const base = reinterpret_cast<std::byte*>(start);
  const std::shared_ptr<std::byte> reserved(
      base, [start, bytes](std::byte*) { driver().cuMemAddressFree(start, bytes); });
  JAXMG_CUDA(driver().cuMemMap(start, bytes, 0, memory.handle(), 0));
  return {base, [reserved, start, bytes](std::byte*) { driver().cuMemUnmap(start, bytes); }};
}

void let_use(std::byte* mapped, std::size_t bytes, int ordinal) {
  CUmemAccessDesc access{};
  access.location = location_of(ordinal);
  access.flags = CU_MEM_ACCESS_FLAGS_PROT_READWRITE;
  JAXMG_CUDA(driver().cuMemSetAccess(reinterpret_cast<CUdeviceptr>(mapped), bytes, &access, 1));
}

}  // namespace jaxmg::cuda
