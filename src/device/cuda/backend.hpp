// The CUDA backend: the contract's operations by cuBLAS, cuSOLVER and a few kernels.
#pragma once

#include "device/contract.hpp"
#include "device/cuda/queue.hpp"

namespace jaxmg::cuda {

struct Backend {
  using Device = cuda::Device;
  using Queue = cuda::Queue;
  using Event = cuda::Event;

  /// cuBLAS's trsm runs at a third of gemm's rate on tall panels.
  static constexpr PanelMethod panel_method = PanelMethod::block_substitution;
  /// A call returns when its work is enqueued.
  static constexpr bool returns_early = true;

  template <class T>
  static void copy(Queue& queue, MatrixView<const T> src, MatrixView<T> dst);
  template <class T>
  static void add(Queue& queue, MatrixView<const T> src, MatrixView<T> dst);
  template <class T>
  static void fill(Queue& queue, T value, MatrixView<T> dst);
  template <class T>
  static void copy_lower(Queue& queue, MatrixView<const T> src, MatrixView<T> dst);
  template <class T>
  static void conj_transpose(Queue& queue, MatrixView<const T> src, MatrixView<T> dst);
  template <class T>
  static void make_hermitian(Queue& queue, MatrixView<T> A);
  template <class T>
  static void fill_nan_if(Queue& queue, const std::int32_t* info, MatrixView<T> dst);

  template <class T>
  static void gemm(Queue& queue, Op op_a, Op op_b, T alpha, MatrixView<const T> A,
                   MatrixView<const T> B, T beta, MatrixView<T> C);
  template <class T>
  static void trapezoid_update(Queue& queue, MatrixView<const T> W, MatrixView<T> C,
                               real_t<T> alpha = -1);
  template <class T>
  static void trsm(Queue& queue, Side side, Op op, MatrixView<const T> L, MatrixView<T> B);

  template <class T>
  static void potrf(Queue& queue, MatrixView<T> A, index_t first_row, std::int32_t* info);
  template <class T>
  static void note_failure(Queue& queue, MatrixView<const T> L, index_t first_row,
                           std::int32_t* info);
  template <class T>
  static void invert_diagonal_blocks(Queue& queue, MatrixView<const T> L, index_t width,
                                     MatrixView<T> X);
  template <class T>
  static void add_logdet(Queue& queue, MatrixView<const T> L, double* sum);

  static void first_failure(Queue& queue, const std::int32_t* infos, int count, std::int32_t* out);
  static void total(Queue& queue, const double* sums, int count, double* out);
  template <class R>
  static void round_to(Queue& queue, const double* sum, R* rounded);

  template <class X>
  static void download(Queue& queue, const X* src, index_t count, X* host);
  template <class X>
  static void upload(Queue& queue, std::vector<X> host, X* dst);
};

static_assert(jaxmg::Backend<Backend>);

}  // namespace jaxmg::cuda
