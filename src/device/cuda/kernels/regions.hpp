// What the check of a remembered seat is given, on the host and on the device.
#pragma once

#include "jaxmg/types.hpp"

namespace jaxmg::cuda {

/// Two integers in device memory.
struct Pair {
  const std::int32_t* first;
  const std::int32_t* second;
};
/// 32-bit words in device memory.
struct Region {
  std::int32_t* data = nullptr;
  index_t words = 0;
};
struct Regions {
  static constexpr int most = 5;
  Region of[most];
};

}  // namespace jaxmg::cuda
