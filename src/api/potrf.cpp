#include "jaxmg/potrf.hpp"

#include "api/potrs_program.hpp"
#include "api/run.hpp"

namespace jaxmg {
template <Scalar T>
CholeskyFactor<T> potrf(DistributedMatrix<T> a, const PotrfOptions& options) {
  using B = cpu::Backend;
  const int ranks = a.team().size();
  CholeskyProblem problem{a.columns(), a.order(), ranks, options.tile, 0, true};
  validate(problem);
  problem = planned(problem, Platform::cpu, dtype_of<T>());
  problem.on_one_rank = false;  // the factor stays spread over the team
  CholeskyFactor<T> factor(std::move(a), problem.tile);
  const DistributedMatrix<T>& matrix = factor.matrix_;

  std::vector<std::int32_t> info(static_cast<std::size_t>(ranks));
  std::vector<real_t<T>> logdet(static_cast<std::size_t>(ranks));
  const BackendTraits traits{B::panel_method, factor.team().options().reads_peers_directly};
  run_with_workspace(factor.team(), CholeskyWorkspace<T>::bytes(problem, traits),
                     [&](Rank<B>& rank, void* workspace) {
                       Arena arena(workspace);
                       const auto work = CholeskyWorkspace<T>::carve(arena, problem, traits);
                       const auto index = static_cast<std::size_t>(rank.index());
                       const MatrixView<T> M =
                           distribute<B, T>(rank, problem, matrix.shard(rank.index()), work);
                       factor_matrix<B, T>(rank, problem, M, work);
                       agree_on_outcome<B, T>(rank, work.scalars, &info[index], &logdet[index]);
                     });
  factor.info_ = info[0];
  factor.logdet_ = logdet[0];
  return factor;
}

template <Scalar T>
void CholeskyFactor<T>::gather(MatrixView<T> lower) const {
  if (lower.rows < order() || lower.cols < order()) {
    throw InvalidArgument("lower: expected at least " + std::to_string(order()) + " x " +
                          std::to_string(order()) + ", got " + std::to_string(lower.rows) + " x " +
                          std::to_string(lower.cols));
  }
  const BlockCyclic layout(matrix_.columns(), team().size(), tile_, order());
  for (index_t j = 0; j < order(); ++j) {
    const ColumnPlace place = layout.cyclic_place(j);
    const MatrixView<T> shard = matrix_.shard(place.rank);
    for (index_t i = 0; i < order(); ++i) lower(i, j) = i < j ? T(0) : shard(i, place.local);
  }
}

#define JAXMG_INSTANTIATE(T)        \
  template class CholeskyFactor<T>; \
  template CholeskyFactor<T> potrf(DistributedMatrix<T> a, const PotrfOptions& options);
JAXMG_INSTANTIATE(float)
JAXMG_INSTANTIATE(double)
JAXMG_INSTANTIATE(std::complex<float>)
JAXMG_INSTANTIATE(std::complex<double>)

}  // namespace jaxmg
