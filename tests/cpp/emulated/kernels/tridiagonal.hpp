// In place of what NVRTC makes of tridiagonal.cu.
#pragma once

#include "device/cuda/grid.hpp"
#include "device/cuda/kernels/tridiagonal.cu"
#undef JAXMG_INSTANTIATE

namespace jaxmg::emulated::kernels {

struct tridiagonal {
  template <Text name, class... As>
  static constexpr auto kernel() {
    if constexpr (name.view() == "solve_leaves") return emulated::solve_leaves<As...>;
    if constexpr (name.view() == "rotate_columns") return emulated::rotate_columns<As...>;
    if constexpr (name.view() == "gather_columns") return emulated::gather_columns<As...>;
    if constexpr (name.view() == "secular_vectors") return emulated::secular_vectors<As...>;
    if constexpr (name.view() == "bisect") return emulated::bisect<As...>;
    if constexpr (name.view() == "solve_secular") return emulated::solve_secular;
    if constexpr (name.view() == "refine_weights") return emulated::refine_weights;
  }
};

}  // namespace jaxmg::emulated::kernels
