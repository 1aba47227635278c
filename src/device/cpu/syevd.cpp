// LAPACK's eigensolver for what is small enough for one tile operation.
#include <algorithm>
#include <cmath>
#include <vector>

#include "device/cpu/backend.hpp"
#include "device/cpu/blas.hpp"
#include "device/cpu/sanitizer.hpp"
#include "device/cpu/sizes.hpp"

namespace jaxmg::cpu {
namespace {

/// LAPACK need not end, or return, where this is false.
template <Scalar T>
bool lower_is_finite(MatrixView<const T> A) {
  for (index_t j = 0; j < A.cols; ++j) {
    const bool finite = std::all_of(&A(j, j), &A(0, j) + A.rows, [](const T& entry) {
      return std::isfinite(std::real(entry)) && std::isfinite(std::imag(entry));
    });
    if (!finite) return false;
  }
  return true;
}

/// syevd or heevd with the workspace that it asks for. Returns its info.
template <Scalar T>
blas_int call_heevd(char job, MatrixView<T> A, real_t<T>* w) {
  const char lower = 'L';
  const Sizes size(A);
  T work_size{};
  real_t<T> real_size{};
  blas_int int_size = 0, info = 0;
  const auto call = [&](T* work, blas_int count, real_t<T>* reals, blas_int real_count,
                        blas_int* integers, blas_int int_count) {
    if constexpr (is_complex_v<T>) {
      blas<T>().heevd(&job, &lower, &size.cols, A.data, &size.ld, w, work, &count, reals,
                      &real_count, integers, &int_count, &info);
    } else {
      blas<T>().heevd(&job, &lower, &size.cols, A.data, &size.ld, w, work, &count, integers,
                      &int_count, &info);
    }
  };
  call(&work_size, -1, &real_size, -1, &int_size, -1);
  std::vector<T> work(static_cast<std::size_t>(real_part(work_size)));
  std::vector<real_t<T>> reals(static_cast<std::size_t>(real_size));
  std::vector<blas_int> integers(static_cast<std::size_t>(int_size));
  call(work.data(), narrow(static_cast<index_t>(work.size())), reals.data(),
       narrow(static_cast<index_t>(reals.size())), integers.data(), int_size);
  return info;
}

}  // namespace

template <class T>
void Backend::heevd(Queue& queue, MatrixView<T> A, real_t<T>* w, bool vectors, std::int32_t* info) {
  queue.enqueue([=] {
    declare_write(A);
    declare_write(w, A.cols);
    declare_write(info, 1);
    *info = 0;
    if (A.empty()) return;
    *info = lower_is_finite<T>(A) ? call_heevd<T>(vectors ? 'V' : 'N', A, w) : 1;
  });
}

void Backend::call_host(Queue& queue, std::function<void()> f) { queue.enqueue(std::move(f)); }

#define JAXMG_INSTANTIATE(T) \
  template void Backend::heevd(Queue&, MatrixView<T>, real_t<T>*, bool, std::int32_t*);
JAXMG_INSTANTIATE(float)
JAXMG_INSTANTIATE(double)
JAXMG_INSTANTIATE(std::complex<float>)
JAXMG_INSTANTIATE(std::complex<double>)

}  // namespace jaxmg::cpu
