#include "jaxmg/syevd.hpp"

#include "api/public/engine.hpp"
#include "api/syevd_program.hpp"
#include "jaxmg/error.hpp"

namespace jaxmg {
namespace {

/// What a call needs of a rank's memory.
template <Scalar T>
struct RankMemory {
  void* program;
  std::int32_t* info;
  real_t<T>* w;

  static RankMemory carve(Arena& arena, std::size_t program_bytes, index_t n) {
    return {arena.take<std::byte>(static_cast<index_t>(program_bytes)), arena.take<std::int32_t>(1),
            arena.take<real_t<T>>(n)};
  }
};

template <class Engine, Scalar T>
void run(const Engine& engine, const SyevdProblem& asked, const StageListener& listener,
         DistributedMatrix<T>& a, SyevdResult<T>& result) {
  using B = typename Engine::Backend;
  const SyevdProblem problem = planned(asked, Engine::platform, dtype_of<T>());
  const index_t n = problem.order;
  const std::size_t bytes = SyevdWorkspace<T>::most_bytes(problem, engine.reads_peers_directly());
  const auto carve = [&](Arena& arena) { return RankMemory<T>::carve(arena, bytes, n); };
  run_with_workspace(engine, carve, [&](Rank<B>& rank, const RankMemory<T>& own) {
    const MatrixView<T> V = result.vectors ? result.vectors->shard(rank.index()) : MatrixView<T>();
    syevd_program<B, T>(rank, problem,
                        {a.shard(rank.index()), own.w, V, own.info, own.program, listener});
    if (rank.index() != 0) return;
    auto& panel = rank.panel();
    B::template copy<std::int32_t>(panel, {own.info, 1, 1, 1}, {&result.info, 1, 1, 1});
    B::template copy<real_t<T>>(panel, {own.w, n, 1, n}, {result.w.data(), n, 1, n});
  });
}

}  // namespace

template <Scalar T>
SyevdResult<T> syevd(DistributedMatrix<T> a, const SyevdOptions& options) {
  const auto kind = options.eigenvectors ? Eigenvectors::columns : Eigenvectors::none;
  const SyevdProblem problem{a.columns(), a.order(), a.team().size(),        options.tile,
                             kind,        true,      {options.bandwidth, 0}, false};
  validate(problem);
  SyevdResult<T> result{std::vector<real_t<T>>(static_cast<std::size_t>(a.order())), {}, 0};
  if (options.eigenvectors) result.vectors.emplace(a.team(), a.order());
  with_engine(a.team(), [&]<class Engine>(const Engine& engine) {
    run(engine, problem, options.listener, a, result);
  });
  return result;
}

template SyevdResult<float> syevd(DistributedMatrix<float> a, const SyevdOptions& options);
template SyevdResult<double> syevd(DistributedMatrix<double> a, const SyevdOptions& options);
template SyevdResult<std::complex<float>> syevd(DistributedMatrix<std::complex<float>> a,
                                                const SyevdOptions& options);
template SyevdResult<std::complex<double>> syevd(DistributedMatrix<std::complex<double>> a,
                                                 const SyevdOptions& options);

}  // namespace jaxmg
