#include "jaxmg/potrs.hpp"

#include "api/potrs_program.hpp"
#include "api/public/engine.hpp"

namespace jaxmg {
namespace {

/// What a solve needs of a rank's memory.
template <Scalar T>
struct SolveWorkspace {
  MatrixView<T> U;  ///< rhs x n
  MatrixView<T> X;  ///< rhs x n
  MatrixView<T>
      columns;         ///< n x rhs: b as the caller has it, in U's storage before and after its use
  MatrixView<T> rows;  ///< rhs x tile, for tile inverses
  std::int32_t* info;
};

}  // namespace

template <Scalar T>
void potrs(const CholeskyFactor<T>& factor, MatrixView<T> b) {
  const index_t n = factor.order();
  if (b.rows != n) {
    throw InvalidArgument("b: expected " + std::to_string(n) + " rows, got " +
                          std::to_string(b.rows));
  }
  if (b.empty()) return;
  const DistributedMatrix<T>& L = factor.storage();
  const BlockCyclic layout(L.columns(), factor.team().size(), factor.tile(), n);
  const auto carve = [&](Arena& arena) {
    SolveWorkspace<T> work;
    work.U = arena.take_matrix<T>(b.cols, n);
    work.X = arena.take_matrix<T>(b.cols, n);
    work.columns = {work.U.data, n, b.cols, n};
    if (!factor.tile_inverses(0).empty()) {
      work.rows = arena.take_matrix<T>(b.cols, factor.tile());
    }
    work.info = arena.take<std::int32_t>(1);
    return work;
  };

  with_engine(factor.team(), [&]<class Engine>(const Engine& engine) {
    using B = typename Engine::Backend;
    run_with_workspace(engine, carve, [&](Rank<B>& rank, const SolveWorkspace<T>& work) {
      auto& panel = rank.panel();
      const MatrixView<const T> mine = L.shard(rank.index());
      const SolveWork<T> inverses{factor.tile_inverses(rank.index()), work.rows};
      // Right-hand sides are rows inside: B^H = (L L^H X)^H = X^H L L^H.
      B::template copy<T>(panel, b, work.columns);
      B::template conj_transpose<T>(panel, work.columns, work.X);
      forward_substitution<B, T>(rank, layout, mine, inverses, work.X, work.U, work.X);
      backward_substitution<B, T>(rank, layout, mine, inverses, work.U, work.X);
      rank.barrier(panel);  // everybody has read b, and rank 0's U
      if (rank.index() != 0) return;
      B::template fill<std::int32_t>(panel, factor.info(), {work.info, 1, 1, 1});
      B::template conj_transpose<T>(panel, work.X, work.columns);
      B::template fill_nan_if<T>(panel, work.info, work.columns);
      B::template copy<T>(panel, work.columns, b);
    });
  });
}

#define JAXMG_INSTANTIATE(T) template void potrs(const CholeskyFactor<T>&, MatrixView<T>);
JAXMG_INSTANTIATE(float)
JAXMG_INSTANTIATE(double)
JAXMG_INSTANTIATE(std::complex<float>)
JAXMG_INSTANTIATE(std::complex<double>)

}  // namespace jaxmg
