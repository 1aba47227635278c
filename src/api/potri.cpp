#include "jaxmg/potri.hpp"

#include "api/potri_program.hpp"
#include "api/run.hpp"

namespace jaxmg {

template <Scalar T>
PotriResult<T> potri(DistributedMatrix<T> a, const PotriOptions& options) {
  using B = cpu::Backend;
  const int ranks = a.team().size();
  CholeskyProblem problem{a.columns(), a.order(), ranks, options.tile, 0, true};
  validate(problem);
  problem = planned(problem, Platform::cpu, dtype_of<T>());

  std::vector<std::int32_t> info(static_cast<std::size_t>(ranks));
  std::vector<real_t<T>> logdet(static_cast<std::size_t>(ranks));
  const BackendTraits traits{B::panel_method, a.team().options().reads_peers_directly};
  run_with_workspace(
      a.team(), PotriWorkspace<T>::bytes(problem, traits), [&](Rank<B>& rank, void* workspace) {
        const auto index = static_cast<std::size_t>(rank.index());
        const MatrixView<T> shard = a.shard(rank.index());
        potri_program<B, T>(rank, problem, {shard, shard, &logdet[index], &info[index], workspace});
      });
  return {std::move(a), info[0], logdet[0]};
}

template <Scalar T>
DistributedMatrix<T> inverse(const CholeskyFactor<T>& factor) {
  using B = cpu::Backend;
  const Team& team = factor.team();
  const DistributedMatrix<T>& L = factor.storage();
  DistributedMatrix<T> result(team, factor.order());
  const CholeskyProblem problem{L.columns(), factor.order(), team.size(), factor.tile(), 0, true};
  const BackendTraits traits{B::panel_method, team.options().reads_peers_directly};
  const std::int32_t info = factor.info();
  run_with_workspace(team, FactorInverseWorkspace<T>::bytes(problem, traits),
                     [&](Rank<B>& rank, void* workspace) {
                       factor_inverse_program<B, T>(rank, problem, L.shard(rank.index()),
                                                    result.shard(rank.index()), &info, workspace);
                     });
  return result;
}

#define JAXMG_INSTANTIATE(T)                                                          \
  template PotriResult<T> potri(DistributedMatrix<T> a, const PotriOptions& options); \
  template DistributedMatrix<T> inverse(const CholeskyFactor<T>& factor);
JAXMG_INSTANTIATE(float)
JAXMG_INSTANTIATE(double)
JAXMG_INSTANTIATE(std::complex<float>)
JAXMG_INSTANTIATE(std::complex<double>)

}  // namespace jaxmg
