// The whole contract between algorithms and a backend: what a new kind of device must supply.
//
// A backend is a type with the members below, all static. A Device is one rank's part of a device
// during one call. Work is only ever *enqueued*, on a Queue that runs it in order and
// asynchronously, as a stream does. Views must stay valid until the queue has run the operation.
// `L` is lower triangular everywhere, with a real diagonal that is not zero, as a Cholesky
// factor's; the other triangle of its storage is never read.
#pragma once

#include <chrono>
#include <concepts>
#include <cstdint>
#include <functional>
#include <vector>

#include "jaxmg/types.hpp"
#include "jaxmg/view.hpp"

namespace jaxmg {

enum class Op { none, conj_trans };
enum class Side { left, right };

/// Order in which a queue competes with others of its rank.
enum class Priority { normal, high };

/// While the host waits for a queue, `say` is called every `interval`: so that peers know that work
/// goes on, and not that a host is stuck. Empty: nobody asks.
struct SignOfLife {
  std::chrono::milliseconds interval{};
  std::function<void()> say;
};

/// How the panel W = A21 L11^-H is formed; see algorithms/cholesky/panel.hpp.
enum class PanelMethod { trsm, block_substitution };

// clang-format off
/// In the order of the list: queues and events; moving data; BLAS; LAPACK; scalars of a team;
/// data of the host.
///
/// copy            dst := src (src may be a peer's)
/// add             dst := dst + src (src may be a peer's)
/// fill            dst := value
/// copy_lower      dst := tril(src), zeros above
/// conj_transpose  dst := src^H
/// make_hermitian  A := the Hermitian matrix that A's lower triangle tells; real diagonal
/// fill_nan_if     dst := NaN where *info != 0
/// gemm            C := alpha op(A) op(B) + beta C; of an inner size of 0, beta is 0 or 1
/// trapezoid_update  C := C + alpha W W1^H, W1 the first C.cols rows of W, alpha = -1 if not said;
///                 above the diagonal of C's first C.cols rows anything may be left
/// trsm            B := op(L)^-1 B (left) or B op(L)^-1 (right)
/// potrf           A := chol(A), lower; on failure *info := first_row + order of the failing minor
///                 if *info was 0
/// note_failure    *info := first_row + order of the first minor whose L_ii is not finite and
///                 positive, if there is one and *info was 0
/// invert_diagonal_blocks  X(0 .. w, b .. b + w) := inverse of L's diagonal block at b, for b = 0, s,
///                 2 s, ..., w = min(s, L.cols - b); zeros above its diagonal. s is 64 times a power
///                 of 2, or at least L.cols
/// add_logdet      *sum += 2 sum_i log Re L_ii
/// first_failure   *out := smallest non-zero of infos[0..count), 0 if all are
/// total           *out := sums[0] + ... + sums[count-1]
/// round_to        *rounded := *sum in another precision
/// download        host[0..count) := src; the host may read it once it has synchronised the queue
/// upload          dst := host, which is gone or may change once the call has returned
template <class B, class T>
concept BackendFor = Scalar<T> && std::constructible_from<typename B::Queue, typename B::Device&, Priority, SignOfLife> && requires(
    typename B::Device& device, typename B::Queue& queue, const typename B::Event& event,
    MatrixView<const T> a, MatrixView<T> c, T alpha, Op op, Side side, index_t first_row,
    std::int32_t* info, const std::int32_t* infos, double* sum, const double* sums,
    real_t<T>* rounded, real_t<T> real_alpha, int count, index_t size) {
  { queue.record() } -> std::same_as<typename B::Event>;
  queue.wait(event);
  queue.synchronize();
  device.follow(event);
  { B::panel_method } -> std::convertible_to<PanelMethod>;
  { B::returns_early } -> std::convertible_to<bool>;
  { B::overlaps_products } -> std::convertible_to<bool>;

  B::copy(queue, a, c);
  B::add(queue, a, c);
  B::fill(queue, alpha, c);
  B::fill(queue, std::int32_t{0}, MatrixView<std::int32_t>{});
  B::copy_lower(queue, a, c);
  B::conj_transpose(queue, a, c);
  B::make_hermitian(queue, c);
  B::fill_nan_if(queue, infos, c);

  B::gemm(queue, op, op, alpha, a, a, alpha, c);
  B::trapezoid_update(queue, a, c);
  B::trapezoid_update(queue, a, c, real_alpha);
  B::trsm(queue, side, op, a, c);

  B::potrf(queue, c, first_row, info);
  B::note_failure(queue, a, first_row, info);
  B::invert_diagonal_blocks(queue, a, first_row, c);
  B::add_logdet(queue, a, sum);

  B::first_failure(queue, infos, count, info);
  B::total(queue, sums, count, sum);
  B::round_to(queue, sums, rounded);

  B::download(queue, sums, size, sum);
  B::download(queue, infos, size, info);
  B::upload(queue, std::vector<double>(), sum);
  B::upload(queue, std::vector<std::int32_t>(), info);
};
// clang-format on

template <class B>
concept Backend = BackendFor<B, float> && BackendFor<B, double> &&
    BackendFor<B, std::complex<float>> && BackendFor<B, std::complex<double>>;

}  // namespace jaxmg
