#include "kernels/cholesky.hpp"

#include "device/cuda/kernels.hpp"

namespace jaxmg::cuda {

using kernels::cholesky;

template <class T>
void launch_note_failure(cudaStream_t stream, MatrixView<const T> factor, const int* failed,
                         index_t first_row, std::int32_t* info) {
  launch<cholesky, "note_failure", T>({stream, 1, threads}, factor, failed, first_row, info);
}

template <class T>
void launch_invert_small_blocks(cudaStream_t stream, MatrixView<const T> L, index_t period,
                                MatrixView<T> X) {
  if (L.cols == 0) return;
  const auto blocks = static_cast<unsigned>((L.cols + small_block - 1) / small_block);
  constexpr std::size_t bytes = 2 * small_block * small_block * sizeof(T);
  launch<cholesky, "invert_small_blocks", T>({stream, blocks, threads, bytes}, L, period, X);
}

template <class T>
void launch_add_logdet(cudaStream_t stream, MatrixView<const T> L, double* sum) {
  launch<cholesky, "add_logdet", T>({stream, 1, threads}, L, sum);
}

void launch_first_failure(cudaStream_t stream, const std::int32_t* infos, int count,
                          std::int32_t* out) {
  launch<cholesky, "first_failure">({stream, 1, 1}, infos, count, out);
}

void launch_total(cudaStream_t stream, const double* sums, int count, double* out) {
  launch<cholesky, "total">({stream, 1, 1}, sums, count, out);
}

template <class R>
void launch_round(cudaStream_t stream, const double* sum, R* rounded) {
  launch<cholesky, "round_to", R>({stream, 1, 1}, sum, rounded);
}

#define JAXMG_INSTANTIATE(T)                                                                \
  template void launch_note_failure(cudaStream_t, MatrixView<const T>, const int*, index_t, \
                                    std::int32_t*);                                         \
  template void launch_invert_small_blocks(cudaStream_t, MatrixView<const T>, index_t,      \
                                           MatrixView<T>);                                  \
  template void launch_add_logdet(cudaStream_t, MatrixView<const T>, double*);
JAXMG_INSTANTIATE(float)
JAXMG_INSTANTIATE(double)
JAXMG_INSTANTIATE(std::complex<float>)
JAXMG_INSTANTIATE(std::complex<double>)
template void launch_round(cudaStream_t, const double*, float*);
template void launch_round(cudaStream_t, const double*, double*);

}  // namespace jaxmg::cuda
