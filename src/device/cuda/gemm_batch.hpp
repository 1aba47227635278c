// Products at fixed strides by one call, and what cuBLAS calls the four types.
#pragma once

#include "device/cuda/device.hpp"
#include "jaxmg/view.hpp"

namespace jaxmg::cuda {

template <Scalar T>
constexpr cudaDataType data_type() {
  if constexpr (std::same_as<T, float>) return CUDA_R_32F;
  if constexpr (std::same_as<T, double>) return CUDA_R_64F;
  if constexpr (std::same_as<T, std::complex<float>>) return CUDA_C_32F;
  return CUDA_C_64F;
}

template <Scalar T>
constexpr cublasComputeType_t compute_type() {
  return sizeof(real_t<T>) == 4 ? CUBLAS_COMPUTE_32F : CUBLAS_COMPUTE_64F;
}

/// C_i := alpha op(A_i) op(B_i) for `count` products at fixed strides.
template <Scalar T>
void gemm_batch(Lane& lane, cublasOperation_t op_a, cublasOperation_t op_b, T alpha,
                MatrixView<const T> A, index_t stride_a, MatrixView<const T> B, index_t stride_b,
                MatrixView<T> C, index_t stride_c, index_t count) {
  if (C.empty() || count == 0) return;
  const T zero(0);
  JAXMG_CUDA(cublasGemmStridedBatchedEx_64(
      lane.blas, op_a, op_b, C.rows, C.cols, op_a == CUBLAS_OP_N ? A.cols : A.rows, &alpha, A.data,
      data_type<T>(), A.ld, stride_a, B.data, data_type<T>(), B.ld, stride_b, &zero, C.data,
      data_type<T>(), C.ld, stride_c, count, compute_type<T>(), CUBLAS_GEMM_DEFAULT));
}

}  // namespace jaxmg::cuda
