// The CUDA backend: the contract's operations by cuBLAS, cuSOLVER and a few kernels.
#pragma once

#include "device/contract.hpp"
#include "device/contract_band_reduction.hpp"
#include "device/contract_bulge_chasing.hpp"
#include "device/contract_scaling.hpp"
#include "device/contract_syevd.hpp"
#include "device/contract_tridiagonal.hpp"
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
  /// The last thread blocks of a product leave multiprocessors to those of another.
  static constexpr bool overlaps_products = true;

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

  // Scaling: contract_scaling.hpp, scaling.cpp.
  template <class T>
  static void largest_part(Queue& queue, MatrixView<const T> A, double* largest);
  template <class T>
  static void scale_to_one(Queue& queue, const double* largest, int count, MatrixView<T> A);
  template <class T>
  static void scale_from_one(Queue& queue, const double* largest, int count, MatrixView<T> A);

  // Reduction to band form: contract_band_reduction.hpp, band_reduction.cpp.
  template <class T>
  static void mark_zero(Queue& queue, MatrixView<const T> A, std::int32_t* info);
  template <class S, class T>
  static void convert(Queue& queue, MatrixView<const S> src, MatrixView<T> dst);
  template <class T>
  static void expect_identity(Queue& queue, MatrixView<const T> G, double tolerance,
                              std::int32_t* info);
  template <class T>
  static void small_cholesky(Queue& queue, MatrixView<T> A, std::int32_t* info);
  template <class T>
  static void divide_rows(Queue& queue, MatrixView<const T> L, MatrixView<T> B);
  template <class T>
  static void reconstruct(Queue& queue, MatrixView<T> Q1, MatrixView<const T> Rh, MatrixView<T> Uh,
                          MatrixView<T> factor);
  template <class T>
  static void householder_qr(Queue& queue, MatrixView<T> A, MatrixView<T> factor,
                             MatrixView<T> scratch);
  template <class T>
  static void unit_lower(Queue& queue, MatrixView<T> A);
  template <class T>
  static void copy_band(Queue& queue, MatrixView<const T> A, MatrixView<T> band);
  template <class T>
  static void spread_rows(Queue& queue, MatrixView<const T> from, const TiledRows& places,
                          MatrixView<T> to);
  template <class T>
  static void collect_rows(Queue& queue, MatrixView<const T> from, const TiledRows& places,
                           MatrixView<T> to);

  // Bulge chasing: contract_bulge_chasing.hpp, bulge_chasing.cpp.
  template <class T>
  static void chase(Queue& queue, MatrixView<T> band, index_t first_sweep, index_t sweeps,
                    MatrixView<T> reflectors, const ChaseScratch& scratch);
  template <class T>
  static void extract_tridiagonal(Queue& queue, MatrixView<const T> band, real_t<T>* d,
                                  real_t<T>* e, T* phases);
  template <class T, class S>
  static void scaled_adjoint(Queue& queue, const T* phases, MatrixView<const S> Z, MatrixView<T> U);
  template <class T>
  static void form_diamonds(Queue& queue, const DiamondWaves& waves, MatrixView<const T> reflectors,
                            index_t first_wave, MatrixView<T> diamonds);
  template <class T>
  static void apply_diamonds(Queue& queue, MatrixView<const T> diamonds, MatrixView<const T> from,
                             MatrixView<T> to);

  // The tridiagonal eigensolver: contract_tridiagonal.hpp, tridiagonal.cpp.
  template <class R>
  static void solve_leaves(Queue& queue, const index_t* borders, index_t count, double* d,
                           double* e, MatrixView<R> Q, std::int32_t* info);
  template <class R>
  static void rotate_columns(Queue& queue, const Rotation* rotations, index_t count,
                             MatrixView<R> Q);
  template <class R>
  static void gather_columns(Queue& queue, MatrixView<const R> src, const index_t* columns,
                             MatrixView<R> dst);
  static void solve_secular(Queue& queue, const SecularEquation& equation, index_t first,
                            index_t last, SecularRoot* roots, std::int32_t* info);
  static void refine_weights(Queue& queue, const SecularEquation& equation,
                             const SecularRoot* roots, index_t first, index_t last,
                             double* weights);
  template <class R>
  static void secular_vectors(Queue& queue, const SecularEquation& equation,
                              const SecularRoot* roots, const index_t* rows, index_t first,
                              double* values, MatrixView<R> S);
  template <class R>
  static void bisect(Queue& queue, const R* d, const R* e, index_t n, index_t first, index_t last,
                     R* w, std::int32_t* info);

  // A call of syevd: contract_syevd.hpp, syevd.cpp.
  template <class T>
  static void heevd(Queue& queue, MatrixView<T> A, real_t<T>* w, bool vectors, std::int32_t* info);
  static void call_host(Queue& queue, const std::function<void()>& f);
};

static_assert(jaxmg::Backend<Backend>);
static_assert(jaxmg::ScalingBackend<Backend>);
static_assert(jaxmg::BandReductionBackend<Backend>);
static_assert(jaxmg::BulgeChasingBackend<Backend>);
static_assert(jaxmg::TridiagonalBackend<Backend>);
static_assert(jaxmg::SyevdBackend<Backend>);

}  // namespace jaxmg::cuda
