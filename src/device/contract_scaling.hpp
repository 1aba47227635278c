// What scaling a matrix asks of a backend beside device/contract.hpp.
#pragma once

#include "device/contract.hpp"

namespace jaxmg {

// clang-format off
/// largest_part    *largest := max |Re a|, |Im a| over A, NaN where A has one, 0 where A is empty
/// scale_to_one    A := 2^k A with which the largest of largest[0..count) comes to lie in [0.5, 1);
///                 k = 0 where that is 0 or not finite. Exact but for what underflows
/// scale_from_one  A := 2^-k A with the same k
template <class B, class T>
concept ScalingBackendFor = BackendFor<B, T> && requires(
    typename B::Queue& queue, MatrixView<const T> a, MatrixView<T> c, MatrixView<real_t<T>> values,
    double* largest, const double* all_largest, int count) {
  B::largest_part(queue, a, largest);
  B::scale_to_one(queue, all_largest, count, c);
  B::scale_from_one(queue, all_largest, count, values);
};
// clang-format on

template <class B>
concept ScalingBackend = ScalingBackendFor<B, float> && ScalingBackendFor<B, double> &&
    ScalingBackendFor<B, std::complex<float>> && ScalingBackendFor<B, std::complex<double>>;

}  // namespace jaxmg
