// The calling thread's current GPU.
#pragma once

#include "device/cuda/check.hpp"

namespace jaxmg::cuda {

/// What is current now is so again when this is gone; so long, `ordinal` is, or what is selected.
class CurrentDevice {
 public:
  CurrentDevice() { JAXMG_CUDA(cudaGetDevice(&before_)); }
  explicit CurrentDevice(int ordinal) : CurrentDevice() { select(ordinal); }
  ~CurrentDevice() { cudaSetDevice(before_); }
  CurrentDevice(const CurrentDevice&) = delete;
  CurrentDevice& operator=(const CurrentDevice&) = delete;

  void select(int ordinal) const { JAXMG_CUDA(cudaSetDevice(ordinal)); }

 private:
  int before_ = 0;
};

}  // namespace jaxmg::cuda
