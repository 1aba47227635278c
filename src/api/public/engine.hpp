// What public functions ask of a team's devices beyond the contract: memory, and running a program
// on every rank. An engine has
//
//   Backend                 the backend of its ranks
//   platform                for sizes that depend on it
//   size()                  number of ranks
//   reads_peers_directly()  as in TeamOptions
//   allocate<T>(p, count)   zeroed memory of rank p's device
//   check_memory(p, data)   throws InvalidArgument if rank p could not work on `data`
//   run(program)            runs the program on all ranks and waits; throws what failed
#pragma once

#include <memory>
#include <type_traits>
#include <vector>

#include "api/arena.hpp"
#include "api/cholesky_plan.hpp"
#include "device/cpu/allocate.hpp"
#include "jaxmg/team.hpp"
#include "team/jobs.hpp"
#ifdef JAXMG_WITH_CUDA
#include "api/public/cuda_engine.hpp"
#endif

namespace jaxmg {

class CpuEngine {
 public:
  using Backend = cpu::Backend;
  static constexpr Platform platform = Platform::cpu;

  explicit CpuEngine(const CpuRanks& ranks) : ranks_(ranks) {}

  int size() const { return ranks_.count; }
  bool reads_peers_directly() const { return ranks_.options.reads_peers_directly; }
  template <class T>
  std::shared_ptr<T> allocate(int /*rank*/, index_t count) const {
    return cpu::allocate<T>(count);
  }
  void check_memory(int /*rank*/, const void* /*data*/) const {}
  void run(const RankProgram<Backend>& program) const {
    run_team(ranks_.count, program, {reads_peers_directly(), ranks_.options.silence});
  }

 private:
  CpuRanks ranks_;
};

/// f(engine) with the engine of the team's devices.
template <class F>
decltype(auto) with_engine(const Team& team, const F& f) {
#ifdef JAXMG_WITH_CUDA
  if (const auto* const gpus = std::get_if<CudaRanks>(&team.ranks())) return f(CudaEngine(*gpus));
#endif
  return f(CpuEngine(std::get<CpuRanks>(team.ranks())));
}

/// Runs program(rank, carve(arena)) on all ranks, each with an arena that suffices for `carve`.
template <class Engine, class Carve, class Program>
void run_with_workspace(const Engine& engine, const Carve& carve, const Program& program) {
  Arena counter;
  carve(counter);
  std::vector<std::shared_ptr<std::byte>> workspaces;
  for (int p = 0; p < engine.size(); ++p) {
    workspaces.push_back(
        engine.template allocate<std::byte>(p, static_cast<index_t>(counter.bytes())));
  }
  engine.run([&](Rank<typename Engine::Backend>& rank) {
    Arena arena(workspaces[static_cast<std::size_t>(rank.index())].get());
    program(rank, carve(arena));
  });
}

}  // namespace jaxmg
