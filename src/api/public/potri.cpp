#include "jaxmg/potri.hpp"

#include "api/potri_program.hpp"
#include "api/public/engine.hpp"

namespace jaxmg {
namespace {

/// What an inverse needs of a rank's memory.
template <Scalar T>
struct InverseWorkspace {
  void* program;
  std::int32_t* info;
  real_t<T>* logdet;

  static InverseWorkspace carve(Arena& arena, std::size_t program_bytes) {
    return {arena.take<std::byte>(static_cast<index_t>(program_bytes)), arena.take<std::int32_t>(1),
            arena.take<real_t<T>>(1)};
  }
};

}  // namespace

template <Scalar T>
PotriResult<T> potri(DistributedMatrix<T> a, const PotriOptions& options) {
  CholeskyProblem problem{a.columns(), a.order(), a.team().size(), options.tile, 0, true};
  validate(problem);
  PotriResult<T> result{std::move(a), 0, 0};
  with_engine(result.inverse.team(), [&]<class Engine>(const Engine& engine) {
    using B = typename Engine::Backend;
    problem = planned(problem, Engine::platform, dtype_of<T>());
    const BackendTraits traits{B::panel_method, engine.reads_peers_directly()};
    const std::size_t bytes = PotriWorkspace<T>::bytes(problem, traits);
    const auto carve = [&](Arena& arena) { return InverseWorkspace<T>::carve(arena, bytes); };
    run_with_workspace(engine, carve, [&](Rank<B>& rank, const InverseWorkspace<T>& own) {
      const MatrixView<T> shard = result.inverse.shard(rank.index());
      potri_program<B, T>(rank, problem, {shard, shard, own.logdet, own.info, own.program});
      if (rank.index() != 0) return;
      auto& panel = rank.panel();
      B::template copy<std::int32_t>(panel, {own.info, 1, 1, 1}, {&result.info, 1, 1, 1});
      B::template copy<real_t<T>>(panel, {own.logdet, 1, 1, 1}, {&result.logdet, 1, 1, 1});
    });
  });
  return result;
}

template <Scalar T>
DistributedMatrix<T> inverse(const CholeskyFactor<T>& factor) {
  const Team& team = factor.team();
  const DistributedMatrix<T>& L = factor.storage();
  const CholeskyProblem problem{L.columns(), factor.order(), team.size(), factor.tile(), 0, true};
  DistributedMatrix<T> result(team, factor.order());
  with_engine(team, [&]<class Engine>(const Engine& engine) {
    using B = typename Engine::Backend;
    const BackendTraits traits{B::panel_method, engine.reads_peers_directly()};
    const std::size_t bytes = FactorInverseWorkspace<T>::bytes(problem, traits);
    const auto carve = [&](Arena& arena) { return InverseWorkspace<T>::carve(arena, bytes); };
    run_with_workspace(engine, carve, [&](Rank<B>& rank, const InverseWorkspace<T>& own) {
      B::template fill<std::int32_t>(rank.panel(), factor.info(), {own.info, 1, 1, 1});
      factor_inverse_program<B, T>(rank, problem, L.shard(rank.index()), result.shard(rank.index()),
                                   own.info, own.program);
    });
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
