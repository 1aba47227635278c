// cuSOLVER's eigensolver for what is small enough for one tile operation.
#include "kernels/syevd.hpp"

#include "device/cuda/backend.hpp"
#include "device/cuda/gemm_batch.hpp"
#include "device/cuda/grid.hpp"

namespace jaxmg::cuda {

using Kernels = kernels::syevd;

// It is given zeros in place of a matrix that is not finite, since it need not end then, and of
// entries so small that they change nothing but its complex arithmetic.
template <class T>
void Backend::heevd(Queue& queue, MatrixView<T> A, real_t<T>* w, bool vectors, std::int32_t* info) {
  Lane& lane = queue.lane();
  set_bytes(lane.stream, info, 0, sizeof *info);
  if (A.empty()) return;
  const Grid grid = grid_for(lane.stream, A);
  launch<Kernels, "note_not_finite", T>(grid, MatrixView<const T>(A), info);
  launch<Kernels, "zero_what_it_cannot", T>(grid, info, A);
  const auto job = vectors ? CUSOLVER_EIG_MODE_VECTOR : CUSOLVER_EIG_MODE_NOVECTOR;
  constexpr auto lower = CUBLAS_FILL_MODE_LOWER;
  constexpr auto type = data_type<T>(), real_type = data_type<real_t<T>>();
  std::size_t device_bytes = 0, host_bytes = 0;
  JAXMG_CUDA(cusolverDnXsyevd_bufferSize(lane.solver, lane.params, job, lower, A.cols, type, A.data,
                                         A.ld, real_type, w, type, &device_bytes, &host_bytes));
  lane.reserve(device_bytes, host_bytes);
  JAXMG_CUDA(cusolverDnXsyevd(lane.solver, lane.params, job, lower, A.cols, type, A.data, A.ld,
                              real_type, w, type, lane.solver_workspace, lane.solver_bytes,
                              lane.solver_host.data(), lane.solver_host.size(), lane.solver_info));
  launch<Kernels, "note_verdict">({lane.stream, 1, 1}, lane.solver_info, info);
}

// On the rank's own thread, which so does not run ahead.
void Backend::call_host(Queue& queue, const std::function<void()>& f) {
  queue.synchronize();
  f();
}

#define JAXMG_INSTANTIATE(T) \
  template void Backend::heevd(Queue&, MatrixView<T>, real_t<T>*, bool, std::int32_t*);
JAXMG_INSTANTIATE(float)
JAXMG_INSTANTIATE(double)
JAXMG_INSTANTIATE(std::complex<float>)
JAXMG_INSTANTIATE(std::complex<double>)

}  // namespace jaxmg::cuda
