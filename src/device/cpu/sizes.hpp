// Sizes as BLAS and LAPACK take them.
#pragma once

#include <limits>
#include <string>

#include "device/cpu/blas.hpp"
#include "jaxmg/error.hpp"
#include "jaxmg/view.hpp"

namespace jaxmg::cpu {

/// BLAS takes 32-bit sizes.
inline blas_int narrow(index_t value) {
  if (value > std::numeric_limits<blas_int>::max()) {
    throw InvalidArgument("a tile operation on the CPU takes sizes up to 2^31 - 1, got " +
                          std::to_string(value));
  }
  return static_cast<blas_int>(value);
}

/// Sizes of a view as BLAS wants them: a leading dimension of at least 1.
template <class T>
struct Sizes {
  explicit Sizes(MatrixView<T> view)
      : rows(narrow(view.rows)), cols(narrow(view.cols)), ld(narrow(view.ld < 1 ? 1 : view.ld)) {}
  blas_int rows, cols, ld;
};

}  // namespace jaxmg::cpu
