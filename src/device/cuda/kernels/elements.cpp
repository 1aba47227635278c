#include "kernels/elements.hpp"

#include "device/cuda/grid.hpp"
#include "device/cuda/kernels.hpp"

namespace jaxmg::cuda {
namespace {

/// The kernel `name<T>` on all elements of `view`.
template <Text name, class T, class... Arguments>
void for_each(cudaStream_t stream, MatrixView<T> view, const Arguments&... arguments) {
  if (!view.empty()) launch<kernels::elements, name, T>(grid_for(stream, view), arguments...);
}

}  // namespace

template <class T>
void launch_add(cudaStream_t stream, MatrixView<const T> src, MatrixView<T> dst) {
  for_each<"add">(stream, dst, src, dst);
}

template <class T>
void launch_fill(cudaStream_t stream, T value, MatrixView<T> dst) {
  for_each<"fill">(stream, dst, value, dst);
}

template <class T>
void launch_copy_lower(cudaStream_t stream, MatrixView<const T> src, MatrixView<T> dst) {
  for_each<"copy_lower">(stream, dst, src, dst);
}

template <class T>
void launch_zero_above(cudaStream_t stream, index_t width, MatrixView<T> X) {
  const MatrixView<T> rows = X.row_range(0, width < X.rows ? width : X.rows);
  for_each<"zero_above">(stream, rows, width, rows);
}

template <class T>
void launch_conjugate(cudaStream_t stream, MatrixView<T> view) {
  for_each<"conjugate_elements">(stream, view, view);
}

template <class T>
void launch_conj_transpose(cudaStream_t stream, MatrixView<const T> src, MatrixView<T> dst) {
  if (dst.empty()) return;
  launch<kernels::elements, "conj_transpose", T>(grid_to_transpose<T>(stream, dst), src, dst);
}

template <class T>
void launch_make_hermitian(cudaStream_t stream, MatrixView<T> A) {
  for_each<"make_hermitian">(stream, A, A);
}

template <class T>
void launch_fill_nan_if(cudaStream_t stream, const std::int32_t* info, MatrixView<T> dst) {
  for_each<"fill_nan_if">(stream, dst, info, dst);
}

#define JAXMG_INSTANTIATE(T)                                                             \
  template void launch_add(cudaStream_t, MatrixView<const T>, MatrixView<T>);            \
  template void launch_fill(cudaStream_t, T, MatrixView<T>);                             \
  template void launch_copy_lower(cudaStream_t, MatrixView<const T>, MatrixView<T>);     \
  template void launch_zero_above(cudaStream_t, index_t, MatrixView<T>);                 \
  template void launch_conjugate(cudaStream_t, MatrixView<T>);                           \
  template void launch_conj_transpose(cudaStream_t, MatrixView<const T>, MatrixView<T>); \
  template void launch_make_hermitian(cudaStream_t, MatrixView<T>);                      \
  template void launch_fill_nan_if(cudaStream_t, const std::int32_t*, MatrixView<T>);
JAXMG_INSTANTIATE(float)
JAXMG_INSTANTIATE(double)
JAXMG_INSTANTIATE(std::complex<float>)
JAXMG_INSTANTIATE(std::complex<double>)
template void launch_fill(cudaStream_t, std::int32_t, MatrixView<std::int32_t>);

}  // namespace jaxmg::cuda
