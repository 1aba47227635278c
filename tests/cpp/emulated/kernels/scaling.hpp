// In place of what NVRTC makes of scaling.cu.
#pragma once

#include "device/cuda/grid.hpp"
#include "device/cuda/kernels/scaling.cu"
#undef JAXMG_INSTANTIATE

namespace jaxmg::emulated::kernels {

struct scaling {
  template <Text name, class... As>
  static constexpr auto kernel() {
    if constexpr (name.view() == "largest_part") return emulated::largest_part<As...>;
    if constexpr (name.view() == "scale") return emulated::scale<As...>;
  }
};

}  // namespace jaxmg::emulated::kernels
