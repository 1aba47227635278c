// The CUDA backend's scaling by powers of two. Bound by memory: one read of the matrix for its
// largest part, one read and write to scale it.
#include "kernels/scaling.hpp"

#include "device/cuda/backend.hpp"
#include "device/cuda/grid.hpp"

namespace jaxmg::cuda {
namespace {

/// A matrix of complex numbers as one of real numbers, of twice the rows.
template <class R>
MatrixView<R> as_reals(MatrixView<R> A) {
  return A;
}
template <class R>
MatrixView<R> as_reals(MatrixView<std::complex<R>> A) {
  return {reinterpret_cast<R*>(A.data), 2 * A.rows, A.cols, 2 * A.ld};
}
template <class R>
MatrixView<const R> as_reals(MatrixView<const std::complex<R>> A) {
  return {reinterpret_cast<const R*>(A.data), 2 * A.rows, A.cols, 2 * A.ld};
}

/// A := 2^(sign e) A; e the exponent of the largest of largest[0..count).
template <class T>
void scale(Queue& queue, const double* largest, int count, int sign, MatrixView<T> A) {
  if (A.empty()) return;
  const auto reals = as_reals(A);
  launch<kernels::scaling, "scale", real_t<T>>(grid_for(queue.stream(), reals), largest, count,
                                               sign, reals);
}

}  // namespace

template <class T>
void Backend::largest_part(Queue& queue, MatrixView<const T> A, double* largest) {
  set_bytes(queue.stream(), largest, 0, sizeof(double));
  if (A.empty()) return;
  const auto reals = as_reals(A);
  launch<kernels::scaling, "largest_part", real_t<T>>(
      grid_for(queue.stream(), reals), reals, reinterpret_cast<unsigned long long*>(largest));
}

template <class T>
void Backend::scale_to_one(Queue& queue, const double* largest, int count, MatrixView<T> A) {
  scale(queue, largest, count, -1, A);
}

template <class T>
void Backend::scale_from_one(Queue& queue, const double* largest, int count, MatrixView<T> A) {
  scale(queue, largest, count, 1, A);
}

#define JAXMG_INSTANTIATE(T)                                                 \
  template void Backend::largest_part(Queue&, MatrixView<const T>, double*); \
  template void Backend::scale_to_one(Queue&, const double*, int, MatrixView<T>);
JAXMG_INSTANTIATE(float)
JAXMG_INSTANTIATE(double)
JAXMG_INSTANTIATE(std::complex<float>)
JAXMG_INSTANTIATE(std::complex<double>)
template void Backend::scale_from_one(Queue&, const double*, int, MatrixView<float>);
template void Backend::scale_from_one(Queue&, const double*, int, MatrixView<double>);

}  // namespace jaxmg::cuda
