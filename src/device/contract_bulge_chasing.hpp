// What bulge chasing and its back-transform ask of a device beside device/contract.hpp.
#pragma once

#include "device/contract.hpp"
#include "distribution/bulge_sweeps.hpp"

namespace jaxmg {

/// The widest band that chase() takes on every device.
inline constexpr index_t widest_chased_band = 64;

/// Scratch of chase(): what sweeps that run side by side tell each other.
struct ChaseScratch {
  std::int32_t* progress = nullptr;  ///< sweeps + 1
  std::uint64_t* letters = nullptr;  ///< chase_letters<T>(n, b)
};
/// Room for two sweeps' letters, b + 1 elements a level in words with 4 bytes of data each: some
/// 4 n elements.
template <Scalar T>
constexpr index_t chase_letters(index_t n, index_t b) {
  return 2 * ((n + b - 1) / b) * (b + 1) * static_cast<index_t>(sizeof(T) / 4);
}

// clang-format off
/// `reflectors` has a column of length b for each H = I - tau v v^H of a chunk, in the order that
/// distribution/bulge_sweeps.hpp tells. H is unitary and Hermitian: tau is real. v(0) = 1 is not
/// stored; tau is in its place. A reflector that there is not, and what is beyond the matrix's last
/// row, is zero.
///
/// chase           `sweeps` sweeps of bulge chasing from first_sweep on. `band` is the lower
///                 triangle of the matrix, (i, j) at band(i - j, j), 2 b rows: the bulges that a
///                 sweep leaves behind reach down to subdiagonal 2 b - 1. All of `reflectors` is
///                 written; none are kept if it is empty.
///                 Level k of a sweep needs what level k + 1 of the sweep before it leaves in the
///                 last row of k's windows, what earlier levels leave in others, and nothing later.
///                 Where sweeps run side by side, a thread block takes its next sweep from an atomic
///                 ticket and so waits for lower tickets alone: any number of resident blocks gets
///                 ahead. progress[s]: levels that sweep s has stored; letters: last rows
/// extract_tridiagonal  d := the diagonal, real; e := |subdiagonal|; phases p, unless null, with
///                 p_0 = 1 and subdiagonal_k = p_{k+1} e_k conj(p_k), of modulus 1 to rounding
///                 however long the product
/// scaled_adjoint  U := (diag(phases) Z)^H; Z is real or of U's type
/// form_diamonds   the diamonds of as many waves as `diamonds` has room for, from first_wave on,
///                 explicitly: block (t - first_wave) groups + G, height x height, := the product of
///                 the reflectors of group G at level(t, G); other blocks are left. Diamonds, and
///                 the columns of one, are independent
/// apply_diamonds  `to` := `from` diag(X_0, X_1, ..)^H for the blocks X_i of `diamonds`, as a batch
///                 of products. The last block may reach beyond the columns: it is cut off there
template <class B, class T>
concept BulgeChasingBackendFor = BackendFor<B, T> && requires(
    typename B::Queue& queue, MatrixView<T> c, MatrixView<const T> a,
    MatrixView<const real_t<T>> real, const T* phases, T* out_phases, real_t<T>* d, real_t<T>* e,
    const DiamondWaves& waves, index_t number, const ChaseScratch& scratch) {
  B::chase(queue, c, number, number, c, scratch);
  B::extract_tridiagonal(queue, a, d, e, out_phases);
  B::scaled_adjoint(queue, phases, real, c);
  B::scaled_adjoint(queue, phases, a, c);
  B::form_diamonds(queue, waves, a, number, c);
  B::apply_diamonds(queue, a, a, c);
};
// clang-format on

template <class B>
concept BulgeChasingBackend = BulgeChasingBackendFor<B, float> &&
    BulgeChasingBackendFor<B, double> && BulgeChasingBackendFor<B, std::complex<float>> &&
    BulgeChasingBackendFor<B, std::complex<double>>;

}  // namespace jaxmg
