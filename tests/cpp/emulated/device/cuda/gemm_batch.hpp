// In place of the library's header of this name.
#pragma once

#include "device/cpu/backend.hpp"
#include "device/cuda/queue.hpp"

inline constexpr auto CUBLAS_OP_N = jaxmg::Op::none;
inline constexpr auto CUBLAS_OP_C = jaxmg::Op::conj_trans;

namespace jaxmg::emulated {

template <Scalar T>
void gemm_batch(Lane& lane, Op op_a, Op op_b, T alpha, MatrixView<const T> A, index_t stride_a,
                MatrixView<const T> B, index_t stride_b, MatrixView<T> C, index_t stride_c,
                index_t count) {
  for (index_t i = 0; i < count; ++i) {
    A.data += i > 0 ? stride_a : 0;
    B.data += i > 0 ? stride_b : 0;
    C.data += i > 0 ? stride_c : 0;
    cpu::Backend::gemm<T>(lane, op_a, op_b, alpha, A, B, T(0), C);
  }
}

}  // namespace jaxmg::emulated
