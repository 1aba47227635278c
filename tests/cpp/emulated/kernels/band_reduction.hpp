// In place of what NVRTC makes of band_reduction.cu.
#pragma once

#include "device/cuda/grid.hpp"
#include "device/cuda/kernels/band_reduction.cu"
#undef JAXMG_INSTANTIATE
#undef JAXMG_INSTANTIATE_WIDE

namespace jaxmg::emulated::kernels {

struct band_reduction {
  template <Text name, class... As>
  static constexpr auto kernel() {
    if constexpr (name.view() == "mark_zero") return emulated::mark_zero<As...>;
    if constexpr (name.view() == "convert") return emulated::convert<As...>;
    if constexpr (name.view() == "expect_identity") return emulated::expect_identity<As...>;
    if constexpr (name.view() == "cholesky") return emulated::cholesky<As...>;
    if constexpr (name.view() == "divide_rows") return emulated::divide_rows<As...>;
    if constexpr (name.view() == "reconstruct") return emulated::reconstruct<As...>;
    if constexpr (name.view() == "householder_column") return emulated::householder_column<As...>;
    if constexpr (name.view() == "finish_householder") return emulated::finish_householder<As...>;
    if constexpr (name.view() == "householder_factor") return emulated::householder_factor<As...>;
    if constexpr (name.view() == "unit_lower") return emulated::unit_lower<As...>;
    if constexpr (name.view() == "copy_band") return emulated::copy_band<As...>;
    if constexpr (name.view() == "spread_rows") return emulated::spread_rows<As...>;
    if constexpr (name.view() == "collect_rows") return emulated::collect_rows<As...>;
  }
};

}  // namespace jaxmg::emulated::kernels
