#include "api/syevd_plan.hpp"

#include <algorithm>

namespace jaxmg {

void validate(const SyevdProblem& problem) {
  validate(problem.matrix());
  if (problem.band.bandwidth < 0) {
    throw InvalidArgument("bandwidth: expected 0 or more, got " +
                          std::to_string(problem.band.bandwidth));
  }
}

SyevdProblem planned(const SyevdProblem& problem, Platform platform, DType dtype) {
  SyevdProblem plan = problem;
  const bool chosen = plan.tile == 0;
  plan.tile = planned(plan.matrix(), platform, dtype).tile;
  const bool on_cpu = platform == Platform::cpu;
  if (chosen) plan.on_one_rank = plan.order <= (on_cpu ? 256 : 4096);
  if (plan.band.bandwidth == 0) plan.band.bandwidth = on_cpu ? 32 : 64;
  plan.band.bandwidth = std::min(plan.band.bandwidth, std::max<index_t>(1, plan.order));
  const index_t block = on_cpu ? 256 : 1024;
  if (plan.band.block == 0) plan.band.block = std::min(block, plan.order);
  plan.band.block = std::max(plan.band.block, plan.band.bandwidth);
  return plan;
}

}  // namespace jaxmg
