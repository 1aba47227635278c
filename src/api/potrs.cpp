#include "jaxmg/potrs.hpp"

#include "api/potrs_program.hpp"
#include "api/run.hpp"

namespace jaxmg {

template <Scalar T>
void potrs(const CholeskyFactor<T>& factor, MatrixView<T> b) {
  using B = cpu::Backend;
  const index_t n = factor.order();
  if (b.rows != n) {
    throw InvalidArgument("b: expected " + std::to_string(n) + " rows, got " +
                          std::to_string(b.rows));
  }
  if (b.empty()) return;
  const DistributedMatrix<T>& L = factor.storage();
  const BlockCyclic layout(L.columns(), factor.team().size(), factor.tile(), n);
  const auto carve = [&](Arena& arena) {
    const MatrixView<T> U = arena.take_matrix<T>(b.cols, n);
    return std::pair(U, arena.take_matrix<T>(b.cols, n));
  };
  Arena counter;
  carve(counter);
  const std::int32_t info = factor.info();

  run_with_workspace(factor.team(), counter.bytes(), [&](Rank<B>& rank, void* workspace) {
    Arena arena(workspace);
    const auto [U, X] = carve(arena);
    auto& panel = rank.panel();
    const MatrixView<const T> mine = L.shard(rank.index());
    // Right-hand sides are rows inside: B^H = (L L^H X)^H = X^H L L^H.
    B::conj_transpose<T>(panel, b, X);
    forward_substitution<B, T>(rank, layout, mine, {}, X, U, X);
    backward_substitution<B, T>(rank, layout, mine, {}, U, X);
    rank.barrier(panel);  // everybody has read b
    if (rank.index() != 0) return;
    B::conj_transpose<T>(panel, X, b);
    B::fill_nan_if<T>(panel, &info, b);
  });
}

#define JAXMG_INSTANTIATE(T) template void potrs(const CholeskyFactor<T>&, MatrixView<T>);
JAXMG_INSTANTIATE(float)
JAXMG_INSTANTIATE(double)
JAXMG_INSTANTIATE(std::complex<float>)
JAXMG_INSTANTIATE(std::complex<double>)

}  // namespace jaxmg
