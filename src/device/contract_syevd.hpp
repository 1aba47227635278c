// What a call of syevd asks of a backend beside what its stages do.
#pragma once

#include <functional>

#include "device/contract.hpp"

namespace jaxmg {

// clang-format off
/// heevd           w := the eigenvalues of A, ascending, its lower triangle read, its largest entries
///                 near 1; with `vectors` A := its eigenvectors, else A is lost. *info := 0, or
///                 not where A is not finite or the iteration fails: w and A are then anything
/// call_host       calls f on the host, on a thread of the backend or the rank's own, once the queue
///                 gets there and before it goes on; f must neither wait nor call the device
template <class B, class T>
concept SyevdBackendFor = BackendFor<B, T> && requires(
    typename B::Queue& queue, MatrixView<T> a, real_t<T>* w, bool vectors, std::int32_t* info,
    std::function<void()> f) {
  B::heevd(queue, a, w, vectors, info);
  B::call_host(queue, std::move(f));
};
// clang-format on

template <class B>
concept SyevdBackend = SyevdBackendFor<B, float> && SyevdBackendFor<B, double> &&
    SyevdBackendFor<B, std::complex<float>> && SyevdBackendFor<B, std::complex<double>>;

}  // namespace jaxmg
