// Large products in float64, by the kernel that was measured to be best.
#pragma once

#include <optional>

#include <cublasLt.h>

#include "device/cuda/device.hpp"
#include "jaxmg/view.hpp"

namespace jaxmg::cuda {

/// C := C + alpha A B^T by a kernel of cuBLAS with tiles of 128 x 128, and true; or false, and
/// nothing is done, where the product is too small for it or such a kernel is not to be had.
///
/// Large float64 products run into a GPU's power limit, and that kernel does most with the power:
/// on two H200 at work, 51.8, 51.9 and 50.7 TF for 49152, 16384 and 8192 rows, 1024 columns and an
/// inner size of 1024, where those that cuBLAS takes by itself do 51.2, 47.3 and 49.6.
bool add_large_product(Lane& lane, double alpha, MatrixView<const double> A,
                       MatrixView<const double> B, MatrixView<double> C);

/// That kernel, if cuBLAS has it for the current device.
std::optional<cublasLtMatmulAlgo_t> find_large_product(cublasHandle_t blas);

}  // namespace jaxmg::cuda
