// Kernels of bulge chasing and of its back-transform.
//
// form_diamonds is bound by the sums over a warp, 5 exchanges for each 2 b products.
#include "device/cuda/kernels/chase.cuh"
#include "device/cuda/kernels/transpose.cuh"

namespace jaxmg::cuda {

/// See contract_bulge_chasing.hpp. progress[0 .. sweeps], letters and reflectors are 0 before.
template <class D, int halves>
__global__ void __launch_bounds__(ChaseShape<halves>::block)
    chase(MatrixView<D> band, index_t first_sweep, int sweeps, MatrixView<D> reflectors,
          int* progress, std::uint64_t* letters) {
  D* const shared = shared_memory<D>();
  int* const ticket = reinterpret_cast<int*>(shared + ChaseShape<halves>::elements);
  Chase<D, halves> work(band, letters, shared);
  while (true) {
    if (threadIdx.x == 0) *ticket = atomicAdd(progress + sweeps, 1);
    __syncthreads();
    const int s = *ticket;
    __syncthreads();
    if (s >= sweeps) return;
    work.sweep(first_sweep + s, s > 0 ? progress + s - 1 : nullptr, progress + s, s + 1 < sweeps,
               reflectors, s, sweeps);
  }
}

// ---- The tridiagonal matrix ---------------------------------------------------------------------

/// |a|, without overflow
template <class R>
R modulus_of(R a) {
  return std::abs(a);
}
template <class R>
R modulus_of(std::complex<R> a) {
  return std::hypot(a.real(), a.imag());
}
/// p / |p|
template <class D>
D normalised(D p) {
  return p / modulus_of(p);
}

/// What phases[i + 1] is of phases[i].
template <class D>
D phase_step(MatrixView<const D> band, index_t i) {
  const D below = band(1, i);
  const auto e = modulus_of(below);
  return e == 0 ? D(1) : normalised(below / e);
}

/// By one block: each thread a range of rows; products over ranges are scanned in shared memory.
template <class D>
__global__ void extract_tridiagonal(MatrixView<const D> band, real_t<D>* d, real_t<D>* e,
                                    D* phases) {
  const index_t n = band.cols;
  const int count = static_cast<int>(blockDim.x), me = static_cast<int>(threadIdx.x);
  for (index_t i = me; i < n; i += count) {
    d[i] = real_part(band(0, i));
    if (i + 1 < n) e[i] = modulus_of(band(1, i));
  }
  if (phases == nullptr) return;
  D* const products = shared_memory<D>();
  const index_t length = (n + count - 1) / count;
  const index_t begin = std::min(me * length, n), end = std::min(begin + length, n);
  D product = D(1);
  for (index_t i = begin; i < end && i + 1 < n; ++i) {
    product = normalised(product_of(product, phase_step(band, i)));
  }
  products[me] = product;
  __syncthreads();
  for (int distance = 1; distance < count; distance *= 2) {
    const D mine = products[me], before = me >= distance ? products[me - distance] : D(0);
    __syncthreads();
    if (me >= distance) products[me] = normalised(product_of(before, mine));
    __syncthreads();
  }
  D phase = me > 0 ? products[me - 1] : D(1);
  for (index_t i = begin; i < end; ++i) {
    phases[i] = phase;
    if (i + 1 < n) phase = normalised(product_of(phase, phase_step(band, i)));
  }
}

template <class T, class S>
__global__ void scaled_adjoint(const T* phases, MatrixView<const S> Z, MatrixView<T> U) {
  transpose(Z, U, [=](S z, index_t row) { return conjugate(product_of(phases[row], T(z))); });
}

// ---- Diamonds -----------------------------------------------------------------------------------

/// A block (G, t - first_wave, part of the columns) of the grid: columns of the product of the
/// reflectors of group G at its level in wave t, from the last reflector to the first. A lane has
/// `H` rows, 32 apart; heights are up to 32 H.
template <class D, int H>
__global__ void form_diamonds(Diamonds waves, MatrixView<const D> reflectors, index_t first_wave,
                              MatrixView<D> diamonds) {
  const index_t G = blockIdx.x;
  const index_t level = first_wave + blockIdx.y - (waves.groups - 1 - G);
  if (level < 0 || level >= waves.levels) return;
  const int b = static_cast<int>(waves.bandwidth);
  const int size = static_cast<int>(waves.bandwidth + waves.group);
  const int count = static_cast<int>(std::min(waves.group, waves.sweeps - G * waves.group));
  const int first = (static_cast<int>(blockIdx.z) * diamond_warps + warp_index()) * diamond_columns;
  if (first >= size) return;
  const D* const V = &reflectors(0, G * waves.group + waves.sweeps * level);
  const MatrixView<D> X{&diamonds(0, (blockIdx.y * waves.groups + G) * size), size, size,
                        diamonds.ld};

  D x[diamond_columns][H];
#pragma unroll
  for (int c = 0; c < diamond_columns; ++c) {
#pragma unroll
    for (int h = 0; h < H; ++h) {
      x[c][h] = D(lane_index() + h * warp_size == first + c ? 1 : 0);
    }
  }
  // Reflector j acts from row j + 1 on, and changes no column before that.
  for (int j = std::min(count, first + diamond_columns - 1) - 1; j >= 0; --j) {
    const D* const column = V + j * reflectors.ld;
    const auto tau = real_part(column[0]);
    if (tau == 0) continue;
    D v[H];
#pragma unroll
    for (int h = 0; h < H; ++h) {
      const int i = lane_index() + h * warp_size - j - 1;
      v[h] = i > 0 && i < b ? column[i] : D(i == 0 ? 1 : 0);
    }
#pragma unroll
    for (int c = 0; c < diamond_columns; ++c) {
      D product{};
#pragma unroll
      for (int h = 0; h < H; ++h) product = plus_product(product, conjugate(v[h]), x[c][h]);
      product = tau * warp_sum(product);
#pragma unroll
      for (int h = 0; h < H; ++h) x[c][h] = minus_product(x[c][h], v[h], product);
    }
  }
#pragma unroll
  for (int c = 0; c < diamond_columns; ++c) {
#pragma unroll
    for (int h = 0; h < H; ++h) {
      const int i = lane_index() + h * warp_size;
      if (i < size && first + c < size) X(i, first + c) = x[c][h];
    }
  }
}

#define JAXMG_INSTANTIATE_CHASE(T, halves)                                                    \
  template __global__ void chase<T, halves>(MatrixView<T>, index_t, int, MatrixView<T>, int*, \
                                            std::uint64_t*);
#define JAXMG_INSTANTIATE_DIAMONDS(T, H)                                               \
  template __global__ void form_diamonds<T, H>(Diamonds, MatrixView<const T>, index_t, \
                                               MatrixView<T>);
#define JAXMG_INSTANTIATE(T)                                                                     \
  JAXMG_INSTANTIATE_CHASE(T, 1)                                                                  \
  JAXMG_INSTANTIATE_CHASE(T, 2)                                                                  \
  JAXMG_INSTANTIATE_DIAMONDS(T, 2)                                                               \
  JAXMG_INSTANTIATE_DIAMONDS(T, 4)                                                               \
  JAXMG_INSTANTIATE_DIAMONDS(T, 8)                                                               \
  template __global__ void extract_tridiagonal(MatrixView<const T>, real_t<T>*, real_t<T>*, T*); \
  template __global__ void scaled_adjoint(const T*, MatrixView<const T>, MatrixView<T>);
JAXMG_INSTANTIATE(float)
JAXMG_INSTANTIATE(double)
JAXMG_INSTANTIATE(std::complex<float>)
JAXMG_INSTANTIATE(std::complex<double>)
template __global__ void scaled_adjoint(const std::complex<float>*, MatrixView<const float>,
                                        MatrixView<std::complex<float>>);
template __global__ void scaled_adjoint(const std::complex<double>*, MatrixView<const double>,
                                        MatrixView<std::complex<double>>);

}  // namespace jaxmg::cuda
