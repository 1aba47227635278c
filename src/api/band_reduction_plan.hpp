// The workspace of the reduction to band form and of its back-transform.
#pragma once

#include "algorithms/eigen/back_transform/of_band_reduction.hpp"
#include "api/arena.hpp"

namespace jaxmg {

/// Sizes that the stages of an eigensolver share.
struct BandReductionSizes {
  index_t bandwidth;  ///< b, at least 1
  index_t block;      ///< K, columns of reflectors in an update, at least b
};

/// Results of band_reduction(): (b + 1) n + b n_loc elements.
template <Scalar T>
BandForm<T> carve_band_form(Arena& arena, const BlockCyclic& layout, index_t bandwidth) {
  return {arena.take_matrix<T>(bandwidth + 1, layout.order()),
          arena.take_matrix<T>(bandwidth, layout.local_columns())};
}

/// Scratch of band_reduction().
template <Scalar T>
BandReductionWork<T> carve_band_reduction(Arena& arena, const BlockCyclic& layout,
                                          const BandReductionSizes& sizes) {
  const index_t n = layout.order(), n_loc = layout.local_columns();
  const index_t b = sizes.bandwidth, K = sizes.block;
  BandReductionWork<T> work;
  work.U = arena.take_matrix<T>(n, 2 * K);
  work.V = arena.take_matrix<T>(n_loc, 2 * K);
  work.Z = arena.take_matrix<T>(n, b);
  for (MatrixView<T>& part : work.parts) part = arena.take_matrix<T>(n_loc, b);
  work.peers_part = arena.take_matrix<T>(n_loc, b);
  work.G = arena.take_matrix<T>(2 * K, b);
  work.small = arena.take_matrix<T>(b, 3 * b);
  work.qr = {arena.take_matrix<wide_t<T>>(n, b), arena.take_matrix<wide_t<T>>(b, 5 * b),
             arena.take<std::int32_t>(1)};
  return work;
}

/// Scratch of apply_band_reduction() for up to `rows` rows of U.
template <Scalar T>
BandBackTransformWork<T> carve_band_back_transform(Arena& arena, const BlockCyclic& layout,
                                                   index_t block, index_t rows) {
  BandBackTransformWork<T> work;
  for (MatrixView<T>& slot : work.blocks) {
    slot = arena.take_matrix<T>(layout.order() + block, block);
  }
  work.gram = arena.take_matrix<T>(block, block);
  work.product = arena.take_matrix<T>(block, block);
  work.UY = arena.take_matrix<T>(rows, block);
  work.UYT = arena.take_matrix<T>(rows, block);
  return work;
}

}  // namespace jaxmg
