#include "api/cholesky_plan.hpp"

#include <algorithm>

namespace jaxmg {

namespace {

/// Order up to which one rank is faster than all. GPUs: the time of a distributed step is launches
/// and copies, some 0.3 ms, for a tile column. CPUs: ranks share the cores anyway.
index_t largest_on_one_rank(Platform platform) { return platform == Platform::cuda ? 8192 : 1024; }

index_t default_tile(const CholeskyProblem& problem, Platform platform, DType dtype) {
  index_t widest = dtype == DType::c128 ? 128 : 256;
  if (platform == Platform::cuda) {
    widest = problem.order <= 12288 ? 512 : 1024;
    if (dtype == DType::f32 && problem.order > 49152) widest = 2048;
  }
  const index_t local = problem.columns / problem.ranks;
  return even_tile(local, std::max<index_t>(1, std::min(local, widest)));
}

}  // namespace

void validate(const CholeskyProblem& problem) {
  if (problem.rhs < 0) {
    throw InvalidArgument("right-hand sides: expected 0 or more, got " +
                          std::to_string(problem.rhs));
  }
  if (problem.tile < 0) {
    throw InvalidArgument("tile: expected 0 or more, got " + std::to_string(problem.tile));
  }
  BlockCyclic(problem.columns, problem.ranks, 1, problem.order);  // checks the rest
}

CholeskyProblem planned(const CholeskyProblem& problem, Platform platform, DType dtype) {
  CholeskyProblem plan = problem;
  if (plan.tile == 0) {
    plan.on_one_rank = plan.order <= largest_on_one_rank(platform);
    plan.tile = default_tile(plan, platform, dtype);
  }
  plan.tile = std::max<index_t>(1, std::min(plan.tile, plan.columns / plan.ranks));
  return plan;
}

}  // namespace jaxmg
