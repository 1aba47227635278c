#include "team/cuda/station.hpp"

#include <string>

#include "device/cuda/current_device.hpp"
#include "jaxmg/error.hpp"

namespace jaxmg::cuda {
namespace {

constexpr auto handle_type = CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR;

CUmemLocation location_of(int ordinal) {
  CUmemLocation location{};
  location.type = CU_MEM_LOCATION_TYPE_DEVICE;
  location.id = ordinal;
  return location;
}

std::byte* reserve() {
  CUdeviceptr address = 0;
  JAXMG_CUDA(driver().cuMemAddressReserve(&address, Station::bytes, 0, 0, 0));
  return reinterpret_cast<std::byte*>(address);
}

void let_see(std::byte* data, int ordinal) {
  CUmemAccessDesc access{};
  access.location = location_of(ordinal);
  access.flags = CU_MEM_ACCESS_FLAGS_PROT_READWRITE;
  JAXMG_CUDA(
      driver().cuMemSetAccess(reinterpret_cast<CUdeviceptr>(data), Station::bytes, &access, 1));
}

}  // namespace

Station::Station(int ordinal) : ordinal_(ordinal) {
  const CurrentDevice current(ordinal);
  CUmemAllocationProp properties{};
  properties.type = CU_MEM_ALLOCATION_TYPE_PINNED;
  properties.requestedHandleTypes = handle_type;
  properties.location = location_of(ordinal);
  CUmemGenericAllocationHandle handle = 0;
  JAXMG_CUDA(driver().cuMemCreate(&handle, bytes, &properties, 0));
  data_ = reserve();
  JAXMG_CUDA(driver().cuMemMap(reinterpret_cast<CUdeviceptr>(data_), bytes, 0, handle, 0));
  let_see(data_, ordinal);
  int descriptor = -1;
  JAXMG_CUDA(driver().cuMemExportToShareableHandle(&descriptor, handle, handle_type, 0));
  descriptor_ = processes::Descriptor(descriptor);
  JAXMG_CUDA(driver().cuMemRelease(handle));  // it lives as long as it is mapped
}

std::byte* PeerStation::data_for(int ordinal) {
  if (seen_by_[ordinal]) return data_;
  const CurrentDevice current(ordinal);
  if (data_ == nullptr) {
    CUmemGenericAllocationHandle handle = 0;
    JAXMG_CUDA(driver().cuMemImportFromShareableHandle(
        &handle, reinterpret_cast<void*>(static_cast<std::intptr_t>(descriptor_.get())),
        handle_type));
    std::byte* const data = reserve();
    JAXMG_CUDA(
        driver().cuMemMap(reinterpret_cast<CUdeviceptr>(data), Station::bytes, 0, handle, 0));
    JAXMG_CUDA(driver().cuMemRelease(handle));
    descriptor_.reset();
    data_ = data;
  }
  try {
    let_see(data_, ordinal);
  } catch (const DeviceError& error) {
    throw DeviceError("GPU " + std::to_string(ordinal) +
                      " cannot read the memory of another process's GPU (" + error.what() + ")");
  }
  seen_by_[ordinal] = true;
  return data_;
}

}  // namespace jaxmg::cuda
