#include "api/syevd_plan.hpp"

#include <algorithm>
#include <string>

#include "device/contract_bulge_chasing.hpp"

namespace jaxmg {

namespace {

/// Whether the device's own solver takes all of it. CPUs: what is one tile; LAPACK would be faster
/// than ranks that share its cores for larger ones too, but those are not for one rank's memory.
/// GPUs: an estimate.
bool fits_one_rank(const SyevdProblem& problem, Platform platform, DType dtype) {
  if (platform == Platform::cuda) return problem.order <= 4096;
  const CholeskyProblem alone{problem.order, problem.order, 1, 0, 0, false};
  return problem.order <= planned(alone, platform, dtype).tile;
}

/// The published JAXMg, which runs the same, lets cuSOLVERMg's eigensolver have no wider ones.
constexpr index_t widest_cusolvermg_tile = 1024;

SyevdProblem planned_for_cusolvermg(const SyevdProblem& problem, Platform platform) {
  SyevdProblem plan = problem;
  plan.tile = planned_for_cusolvermg(plan.matrix(), platform, widest_cusolvermg_tile / 2).tile;
  if (plan.tile > widest_cusolvermg_tile) {
    throw InvalidArgument("syevd: T_A: cuSOLVERMg's eigensolver takes tiles up to " +
                          std::to_string(widest_cusolvermg_tile) + ", got " +
                          std::to_string(plan.tile) + "; leave T_A out, or pass engine=\"jaxmg\"");
  }
  return plan;
}

}  // namespace

void validate(const SyevdProblem& problem) {
  validate(problem.matrix());
  if (problem.band.bandwidth < 0) {
    throw InvalidArgument("bandwidth: expected 0 or more, got " +
                          std::to_string(problem.band.bandwidth));
  }
}

SyevdProblem planned(const SyevdProblem& problem, Platform platform, DType dtype) {
  if (problem.engine == Engine::cusolvermg) return planned_for_cusolvermg(problem, platform);
  SyevdProblem plan = problem;
  const bool chosen = plan.tile == 0;
  plan.tile = planned(plan.matrix(), platform, dtype).tile;
  if (chosen) plan.on_one_rank = fits_one_rank(plan, platform, dtype);
  const bool on_cpu = platform != Platform::cuda;
  if (plan.band.bandwidth == 0) plan.band.bandwidth = on_cpu ? 32 : 64;
  plan.band.bandwidth = std::min(plan.band.bandwidth, std::max<index_t>(1, plan.order));
  if (!on_cpu && plan.band.bandwidth > widest_chased_band) {
    throw InvalidArgument("bandwidth: expected at most " + std::to_string(widest_chased_band) +
                          " on GPUs, got " + std::to_string(plan.band.bandwidth));
  }
  const index_t block = on_cpu ? 256 : 1024;
  if (plan.band.block == 0) plan.band.block = std::min(block, plan.order);
  plan.band.block = std::max(plan.band.block, plan.band.bandwidth);
  return plan;
}

}  // namespace jaxmg
