// In place of what NVRTC makes of bulge_chasing.cu.
#pragma once

#include "device/cuda/grid.hpp"
#include "device/cuda/kernels/bulge_chasing.cu"
#undef JAXMG_INSTANTIATE
#undef JAXMG_INSTANTIATE_CHASE
#undef JAXMG_INSTANTIATE_DIAMONDS

namespace jaxmg::emulated::kernels {

struct bulge_chasing {
  /// Kernels with a number as the second of their template arguments.
  template <class T, class Number>
  struct numbered {
    static constexpr auto chase = emulated::chase<T, Number::value>;
    static constexpr auto form_diamonds = emulated::form_diamonds<T, Number::value>;
  };

  template <Text name, class... As>
  static constexpr auto kernel() {
    if constexpr (name.view() == "extract_tridiagonal") return emulated::extract_tridiagonal<As...>;
    if constexpr (name.view() == "scaled_adjoint") return emulated::scaled_adjoint<As...>;
    if constexpr (name.view() == "chase") return numbered<As...>::chase;
    if constexpr (name.view() == "form_diamonds") return numbered<As...>::form_diamonds;
  }
};

}  // namespace jaxmg::emulated::kernels
