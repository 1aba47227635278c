#include "team/cuda/station.hpp"

#include <string>

#include "device/cuda/current_device.hpp"
#include "device/cuda/physical_memory.hpp"
#include "jaxmg/error.hpp"

namespace jaxmg::cuda {

Station::Station(int ordinal) : ordinal_(ordinal) {
  const CurrentDevice current(ordinal);
  const PhysicalMemory memory = allocate_physical(ordinal, bytes);
  data_ = map(memory, bytes);
  let_use(data_.get(), bytes, ordinal);
  descriptor_ = processes::Descriptor(memory.descriptor());
}

std::byte* PeerStation::data_for(int ordinal) {
  if (seen_by_[ordinal]) return data_.get();
  const CurrentDevice current(ordinal);
  if (!data_) {
    data_ = map(import_physical(descriptor_.get()), Station::bytes);
    descriptor_.reset();
  }
  try {
    let_use(data_.get(), Station::bytes, ordinal);
  } catch (const DeviceError& error) {
    throw DeviceError("GPU " + std::to_string(ordinal) +
                      " cannot read the memory of another process's GPU (" + error.what() + ")");
  }
  seen_by_[ordinal] = true;
  return data_.get();
}

}  // namespace jaxmg::cuda
