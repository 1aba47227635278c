#include "device/cuda/backend.hpp"

#include <algorithm>

#include "device/cuda/gemm_batch.hpp"
#include "device/cuda/kernels.hpp"
#include "device/cuda/large_product.hpp"

namespace jaxmg::cuda {
namespace {

template <Scalar T>
constexpr cublasOperation_t blas_op(Op op) {
  if (op == Op::none) return CUBLAS_OP_N;
  return is_complex_v<T> ? CUBLAS_OP_C : CUBLAS_OP_T;
}

inline cuComplex* device(std::complex<float>* p) { return reinterpret_cast<cuComplex*>(p); }
inline cuDoubleComplex* device(std::complex<double>* p) {
  return reinterpret_cast<cuDoubleComplex*>(p);
}
inline float* device(float* p) { return p; }
inline double* device(double* p) { return p; }
template <class T>
auto device(const T* p) {
  return static_cast<std::add_const_t<std::remove_pointer_t<decltype(device(const_cast<T*>(p)))>>*>(
      device(const_cast<T*>(p)));
}

// cuBLAS's names of the four types, for what has no typeless form.
template <class T>
struct Typed;
template <>
struct Typed<float> {
  static constexpr auto trsm = cublasStrsm_64;
  static constexpr auto trsv = cublasStrsv_64;
  static constexpr auto gemv = cublasSgemv_64;
};
template <>
struct Typed<double> {
  static constexpr auto trsm = cublasDtrsm_64;
  static constexpr auto trsv = cublasDtrsv_64;
  static constexpr auto gemv = cublasDgemv_64;
};
template <>
struct Typed<std::complex<float>> {
  static constexpr auto trsm = cublasCtrsm_64;
  static constexpr auto trsv = cublasCtrsv_64;
  static constexpr auto gemv = cublasCgemv_64;
};
template <>
struct Typed<std::complex<double>> {
  static constexpr auto trsm = cublasZtrsm_64;
  static constexpr auto trsv = cublasZtrsv_64;
  static constexpr auto gemv = cublasZgemv_64;
};

index_t at_least_one(index_t ld) { return std::max<index_t>(1, ld); }

/// Joins the inverses X11 (h wide) and X22 of neighbouring diagonal blocks of L into that of the
/// block they make, X21 = -X22 (L21 X11), for `count` pairs at fixed strides. The product in
/// between is kept, transposed, in the room of X12, which is left with it.
template <Scalar T>
void join_inverses(Lane& lane, MatrixView<const T> L, index_t stride_l, MatrixView<T> X,
                   index_t stride_x, index_t h, index_t count) {
  const index_t w = X.cols - h;
  const MatrixView<T> X11 = X.block(0, 0, h, h), X12 = X.block(0, h, h, w),
                      X21 = X.block(h, 0, w, h), X22 = X.block(h, h, w, w);
  gemm_batch<T>(lane, CUBLAS_OP_T, CUBLAS_OP_T, T(1), X11, stride_x, L.block(h, 0, w, h), stride_l,
                X12, stride_x, count);
  gemm_batch<T>(lane, CUBLAS_OP_N, CUBLAS_OP_T, T(-1), X22, stride_x, X12, stride_x, X21, stride_x,
                count);
}

}  // namespace

template <class T>
void Backend::copy(Queue& queue, MatrixView<const T> src, MatrixView<T> dst) {
  if (dst.empty()) return;
  chaos_delay(queue.stream());
  const auto row_bytes = static_cast<std::size_t>(dst.rows) * sizeof(T);
  if (dst.cols == 1 || (src.ld == dst.rows && dst.ld == dst.rows)) {
    JAXMG_CUDA(cudaMemcpyAsync(dst.data, src.data, row_bytes * static_cast<std::size_t>(dst.cols),
                               cudaMemcpyDefault, queue.stream()));
  } else {
    JAXMG_CUDA(cudaMemcpy2DAsync(dst.data, static_cast<std::size_t>(dst.ld) * sizeof(T), src.data,
                                 static_cast<std::size_t>(src.ld) * sizeof(T), row_bytes,
                                 static_cast<std::size_t>(dst.cols), cudaMemcpyDefault,
                                 queue.stream()));
  }
}

template <class T>
void Backend::add(Queue& queue, MatrixView<const T> src, MatrixView<T> dst) {
  launch_add(queue.stream(), src, dst);
}

template <class T>
void Backend::fill(Queue& queue, T value, MatrixView<T> dst) {
  launch_fill(queue.stream(), value, dst);
}

template <class T>
void Backend::copy_lower(Queue& queue, MatrixView<const T> src, MatrixView<T> dst) {
  launch_copy_lower(queue.stream(), src, dst);
}

template <class T>
void Backend::conj_transpose(Queue& queue, MatrixView<const T> src, MatrixView<T> dst) {
  launch_conj_transpose(queue.stream(), src, dst);
}

template <class T>
void Backend::make_hermitian(Queue& queue, MatrixView<T> A) {
  launch_make_hermitian(queue.stream(), A);
}

template <class T>
void Backend::fill_nan_if(Queue& queue, const std::int32_t* info, MatrixView<T> dst) {
  launch_fill_nan_if(queue.stream(), info, dst);
}

template <class T>
void Backend::gemm(Queue& queue, Op op_a, Op op_b, T alpha, MatrixView<const T> A,
                   MatrixView<const T> B, T beta, MatrixView<T> C) {
  const index_t inner = op_a == Op::none ? A.cols : A.rows;
  if (C.empty()) return;
  if (inner == 0) {
    if (beta == T(0)) launch_fill(queue.stream(), T(0), C);
    return;
  }
  Lane& lane = queue.lane();
  const bool row = C.rows == 1 && op_a == Op::none;
  if (row && !(is_complex_v<T> && op_b == Op::conj_trans)) {
    // A row times a matrix is memory-bound: gemv reads it at full rate. There is none with conj(B).
    const cublasOperation_t trans = op_b == Op::none ? CUBLAS_OP_T : CUBLAS_OP_N;
    JAXMG_CUDA(Typed<T>::gemv(lane.blas, trans, B.rows, B.cols, device(&alpha), device(B.data),
                              at_least_one(B.ld), device(A.data), at_least_one(A.ld), device(&beta),
                              device(C.data), at_least_one(C.ld)));
    return;
  }
  if constexpr (std::same_as<T, double>) {
    const bool adds = op_a == Op::none && op_b == Op::conj_trans && beta == 1;
    if (adds && add_large_product(lane, alpha, A, B, C)) return;
  }
  JAXMG_CUDA(cublasGemmEx_64(lane.blas, blas_op<T>(op_a), blas_op<T>(op_b), C.rows, C.cols, inner,
                             &alpha, A.data, data_type<T>(), at_least_one(A.ld), B.data,
                             data_type<T>(), at_least_one(B.ld), &beta, C.data, data_type<T>(),
                             at_least_one(C.ld), compute_type<T>(), CUBLAS_GEMM_DEFAULT));
}

template <class T>
void Backend::trapezoid_update(Queue& queue, MatrixView<const T> W, MatrixView<T> C,
                               real_t<T> alpha) {
  // Two products for the trapezoid: 0.75 T / n more flops than it has, and no other, slower kernel.
  constexpr index_t least_cols = 512;
  const index_t half = C.cols >= 2 * least_cols ? C.cols / 2 / least_cols * least_cols : C.cols;
  for (const index_t at : {index_t(0), half}) {
    const MatrixView<T> C1 = C.block(at, at, C.rows - at, at == 0 ? half : C.cols - at);
    if (C1.empty()) continue;
    gemm<T>(queue, Op::none, Op::conj_trans, T(alpha), W.row_range(at, C.rows),
            W.row_range(at, at + C1.cols), T(1), C1);
  }
}

template <class T>
void Backend::trsm(Queue& queue, Side side, Op op, MatrixView<const T> L, MatrixView<T> B) {
  if (B.empty()) return;
  if (side == Side::right && B.rows == 1) {
    // A row y with y op(L) = b is a vector with op(L)^T y = b. BLAS has no conj(L) y = b: then
    // L conj(y) = conj(b) is solved.
    const bool conjugated = is_complex_v<T> && op == Op::conj_trans;
    if (conjugated) launch_conjugate<T>(queue.stream(), B);
    JAXMG_CUDA(Typed<T>::trsv(queue.lane().blas, CUBLAS_FILL_MODE_LOWER,
                              op == Op::none ? CUBLAS_OP_T : CUBLAS_OP_N, CUBLAS_DIAG_NON_UNIT,
                              L.cols, device(L.data), at_least_one(L.ld), device(B.data),
                              at_least_one(B.ld)));
    if (conjugated) launch_conjugate<T>(queue.stream(), B);
    return;
  }
  const T one(1);
  JAXMG_CUDA(Typed<T>::trsm(
      queue.lane().blas, side == Side::left ? CUBLAS_SIDE_LEFT : CUBLAS_SIDE_RIGHT,
      CUBLAS_FILL_MODE_LOWER, blas_op<T>(op), CUBLAS_DIAG_NON_UNIT, B.rows, B.cols, device(&one),
      device(L.data), at_least_one(L.ld), device(B.data), at_least_one(B.ld)));
}

template <class T>
void Backend::potrf(Queue& queue, MatrixView<T> A, index_t first_row, std::int32_t* info) {
  if (A.empty()) return;
  Lane& lane = queue.lane();
  std::size_t device_bytes = 0, host_bytes = 0;
  JAXMG_CUDA(cusolverDnXpotrf_bufferSize(lane.solver, lane.params, CUBLAS_FILL_MODE_LOWER, A.cols,
                                         data_type<T>(), A.data, A.ld, data_type<T>(),
                                         &device_bytes, &host_bytes));
  lane.reserve(device_bytes, host_bytes);
  JAXMG_CUDA(cusolverDnXpotrf(lane.solver, lane.params, CUBLAS_FILL_MODE_LOWER, A.cols,
                              data_type<T>(), A.data, A.ld, data_type<T>(), lane.solver_workspace,
                              lane.solver_bytes, lane.solver_host.data(), lane.solver_host.size(),
                              lane.solver_info));
  launch_note_failure<T>(lane.stream, A, lane.solver_info, first_row, info);
}

template <class T>
void Backend::note_failure(Queue& queue, MatrixView<const T> L, index_t first_row,
                           std::int32_t* info) {
  if (L.empty()) return;
  Lane& lane = queue.lane();
  JAXMG_CUDA(cudaMemsetAsync(lane.solver_info, 0, sizeof *lane.solver_info, lane.stream));
  launch_note_failure<T>(lane.stream, L, lane.solver_info, first_row, info);
}

template <class T>
void Backend::invert_diagonal_blocks(Queue& queue, MatrixView<const T> L, index_t width,
                                     MatrixView<T> X) {
  if (L.cols == 0) return;
  Lane& lane = queue.lane();
  launch_invert_small_blocks<T>(queue.stream(), L, width, X);
  // Pairs of blocks of width h, the last one perhaps narrower, make blocks of width 2 h.
  for (index_t h = small_block; h < std::min(width, L.cols); h *= 2) {
    const bool across = 2 * h >= width;  // one pair in each block of the result
    for (index_t b = 0; b < L.cols; b += across ? L.cols : width) {
      const index_t end = across ? L.cols : std::min(b + width, L.cols);
      const index_t stride_x = across ? 2 * h * X.ld : 2 * h * (X.ld + 1);
      const index_t pairs = (end - b) / (2 * h), rest = (end - b) % (2 * h);
      join_inverses<T>(lane, L.block(b, b, 2 * h, 2 * h), 2 * h * (L.ld + 1),
                       X.block(0, b, 2 * h, 2 * h), stride_x, h, pairs);
      if (rest > h) {
        const index_t last = b + pairs * 2 * h;
        join_inverses<T>(lane, L.block(last, last, rest, rest), 0,
                         X.block(across ? 0 : last - b, last, rest, rest), 0, h, 1);
      }
    }
    launch_zero_above<T>(lane.stream, width, X.column_range(0, L.cols));
  }
}

template <class T>
void Backend::add_logdet(Queue& queue, MatrixView<const T> L, double* sum) {
  if (!L.empty()) launch_add_logdet<T>(queue.stream(), L, sum);
}

void Backend::first_failure(Queue& queue, const std::int32_t* infos, int count, std::int32_t* out) {
  launch_first_failure(queue.stream(), infos, count, out);
}

void Backend::total(Queue& queue, const double* sums, int count, double* out) {
  launch_total(queue.stream(), sums, count, out);
}

template <class R>
void Backend::round_to(Queue& queue, const double* sum, R* rounded) {
  launch_round(queue.stream(), sum, rounded);
}

template <class X>
void Backend::download(Queue& queue, const X* src, index_t count, X* host) {
  if (count == 0) return;
  chaos_delay(queue.stream());
  JAXMG_CUDA(cudaMemcpyAsync(host, src, static_cast<std::size_t>(count) * sizeof(X),
                             cudaMemcpyDefault, queue.stream()));
}

// Returns when CUDA has staged the pageable memory of `host`.
template <class X>
void Backend::upload(Queue& queue, std::vector<X> host, X* dst) {
  if (host.empty()) return;
  chaos_delay(queue.stream());
  JAXMG_CUDA(cudaMemcpyAsync(dst, host.data(), host.size() * sizeof(X), cudaMemcpyDefault,
                             queue.stream()));
}

#define JAXMG_INSTANTIATE(T)                                                                      \
  template void Backend::copy(Queue&, MatrixView<const T>, MatrixView<T>);                        \
  template void Backend::add(Queue&, MatrixView<const T>, MatrixView<T>);                         \
  template void Backend::fill(Queue&, T, MatrixView<T>);                                          \
  template void Backend::copy_lower(Queue&, MatrixView<const T>, MatrixView<T>);                  \
  template void Backend::conj_transpose(Queue&, MatrixView<const T>, MatrixView<T>);              \
  template void Backend::make_hermitian(Queue&, MatrixView<T>);                                   \
  template void Backend::fill_nan_if(Queue&, const std::int32_t*, MatrixView<T>);                 \
  template void Backend::gemm(Queue&, Op, Op, T, MatrixView<const T>, MatrixView<const T>, T,     \
                              MatrixView<T>);                                                     \
  template void Backend::trapezoid_update(Queue&, MatrixView<const T>, MatrixView<T>, real_t<T>); \
  template void Backend::trsm(Queue&, Side, Op, MatrixView<const T>, MatrixView<T>);              \
  template void Backend::potrf(Queue&, MatrixView<T>, index_t, std::int32_t*);                    \
  template void Backend::note_failure(Queue&, MatrixView<const T>, index_t, std::int32_t*);       \
  template void Backend::invert_diagonal_blocks(Queue&, MatrixView<const T>, index_t,             \
                                                MatrixView<T>);                                   \
  template void Backend::add_logdet(Queue&, MatrixView<const T>, double*);
JAXMG_INSTANTIATE(float)
JAXMG_INSTANTIATE(double)
JAXMG_INSTANTIATE(std::complex<float>)
JAXMG_INSTANTIATE(std::complex<double>)
template void Backend::copy(Queue&, MatrixView<const std::int32_t>, MatrixView<std::int32_t>);
template void Backend::copy(Queue&, MatrixView<const SecularRoot>, MatrixView<SecularRoot>);
template void Backend::fill(Queue&, std::int32_t, MatrixView<std::int32_t>);
template void Backend::round_to(Queue&, const double*, float*);
template void Backend::round_to(Queue&, const double*, double*);

#define JAXMG_INSTANTIATE_HOST(X)                                 \
  template void Backend::download(Queue&, const X*, index_t, X*); \
  template void Backend::upload(Queue&, std::vector<X>, X*);
JAXMG_INSTANTIATE_HOST(float)
JAXMG_INSTANTIATE_HOST(double)
JAXMG_INSTANTIATE_HOST(std::int32_t)
JAXMG_INSTANTIATE_HOST(index_t)
JAXMG_INSTANTIATE_HOST(Rotation)

}  // namespace jaxmg::cuda
