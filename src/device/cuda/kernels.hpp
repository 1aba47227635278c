// Launchers of the few kernels that no library has; the kernels are in kernels/*.cu. All are
// enqueued on `stream`.
#pragma once

#include <cuda_runtime_api.h>

#include "device/cuda/kernels/regions.hpp"
#include "device/cuda/kernels/sizes.hpp"
#include "jaxmg/view.hpp"

namespace jaxmg::cuda {

template <class T>
void launch_add(cudaStream_t stream, MatrixView<const T> src, MatrixView<T> dst);
template <class T>
void launch_fill(cudaStream_t stream, T value, MatrixView<T> dst);
template <class T>
void launch_copy_lower(cudaStream_t stream, MatrixView<const T> src, MatrixView<T> dst);
template <class T>
void launch_conjugate(cudaStream_t stream, MatrixView<T> view);
template <class T>
void launch_conj_transpose(cudaStream_t stream, MatrixView<const T> src, MatrixView<T> dst);
template <class T>
void launch_make_hermitian(cudaStream_t stream, MatrixView<T> A);
template <class T>
void launch_fill_nan_if(cudaStream_t stream, const std::int32_t* info, MatrixView<T> dst);

/// *info := first_row + offset of the first diagonal entry of the factor that is not finite and
/// positive, counted from 1, if there is one and *info was 0. `failed` is potrf's own verdict.
template <class T>
void launch_note_failure(cudaStream_t stream, MatrixView<const T> factor, const int* failed,
                         index_t first_row, std::int32_t* info);

/// X(0 .. w, b .. b + w) := inverse of L's diagonal block at b, for b = 0, s, 2 s, ... with
/// w = min(s, L.cols - b) and s = small_block: each in the rows of X from b mod `period` on.
/// L's upper triangle is not read.
template <class T>
void launch_invert_small_blocks(cudaStream_t stream, MatrixView<const T> L, index_t period,
                                MatrixView<T> X);

/// Zeros above the diagonal of each block of `width` columns of X, each of which begins in row 0.
template <class T>
void launch_zero_above(cudaStream_t stream, index_t width, MatrixView<T> X);

template <class T>
void launch_add_logdet(cudaStream_t stream, MatrixView<const T> L, double* sum);
void launch_first_failure(cudaStream_t stream, const std::int32_t* infos, int count,
                          std::int32_t* out);
void launch_total(cudaStream_t stream, const double* sums, int count, double* out);
template <class R>
void launch_round(cudaStream_t stream, const double* sum, R* rounded);

/// Sets all bits of the regions, so that integers are -1 and floating point numbers NaN, unless
/// *pair.first and *pair.second are these.
void launch_spoil_unless_equal(cudaStream_t stream, Pair pair, std::int32_t first,
                               std::int32_t second, const Regions& regions);

/// For tests: keeps the stream waiting.
void launch_spin(cudaStream_t stream, unsigned microseconds);
/// For tests: a kernel that fails, and takes the process's use of the device with it.
void launch_trap(cudaStream_t stream);

}  // namespace jaxmg::cuda
