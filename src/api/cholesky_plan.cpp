#include "api/cholesky_plan.hpp"

#include <algorithm>
#include <limits>

namespace jaxmg {

namespace {

/// Order up to which one rank that takes the matrix as a whole is fastest. GPUs: the time of a
/// distributed step is launches and copies, some 0.3 ms, for a tile column; a solution on a single
/// GPU is all cuSOLVER's until our larger products make up for our steps. CPUs: ranks share the
/// cores anyway.
index_t largest_on_one_rank(const CholeskyProblem& problem, Platform platform, DType dtype) {
  if (platform != Platform::cuda) return 1024;
  if (problem.ranks > 1 || problem.rhs == 0) return 8192;
  return dtype == DType::f64 || dtype == DType::c128 ? 24576 : 65536;
}

index_t default_tile(const CholeskyProblem& problem, Platform platform, DType dtype) {
  index_t widest = dtype == DType::c128 ? 128 : 256;
  if (platform == Platform::cuda) {
    widest = problem.order <= 12288 ? 512 : 1024;
    if (dtype == DType::f32 && problem.order > 49152) widest = 2048;
  }
  const index_t local = problem.columns / problem.ranks;
  return even_tile(local, std::max<index_t>(1, std::min(local, widest)));
}

/// With tiles of 1024, 2048 and 4096 its inverses had relative errors of 1e-6 to 1e-3:
/// docs/performance.md.
constexpr index_t wrong_inverse_tile = 1024;

/// The widest tile up to `widest` that cuts a rank's columns evenly, so that A's own storage will
/// do; `widest` itself if those that do are less than half as wide.
index_t dividing_tile(index_t local_columns, index_t widest) {
  if (local_columns <= widest) return local_columns;
  for (index_t tile = widest; 2 * tile > widest; --tile) {
    if (local_columns % tile == 0) return tile;
  }
  return widest;
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
  if (problem.engine != Engine::jaxmg && problem.engine != Engine::cusolvermg) {
    throw InvalidArgument("engine: expected 0 or 1, got " +
                          std::to_string(static_cast<int>(problem.engine)));
  }
  BlockCyclic(problem.columns, problem.ranks, 1, problem.order);  // checks the rest
}

CholeskyProblem planned_for_cusolvermg(const CholeskyProblem& problem, Platform platform,
                                       index_t widest) {
  if (platform != Platform::cuda) {
    throw InvalidArgument(
        "engine: cusolvermg is NVIDIA's library for its GPUs, got CPU devices; leave engine out, "
        "or pass engine=\"jaxmg\" (is JAXMG_ENGINE set?)");
  }
  CholeskyProblem plan = problem;
  const index_t local = plan.columns / plan.ranks;
  if (plan.tile == 0) plan.tile = dividing_tile(local, widest);
  plan.tile = std::max<index_t>(1, std::min(plan.tile, local));
  constexpr index_t largest = std::numeric_limits<int>::max();
  if (plan.order > largest || plan.rhs > largest) {
    throw InvalidArgument("a: cuSOLVERMg takes orders up to 2^31 - 1, got " +
                          std::to_string(std::max(plan.order, plan.rhs)));
  }
  return plan;
}

CholeskyProblem planned(const CholeskyProblem& problem, Platform platform, DType dtype) {
  if (problem.engine == Engine::cusolvermg) return planned_for_cusolvermg(problem, platform, 2048);
  CholeskyProblem plan = problem;
  if (plan.tile == 0) {
    plan.on_one_rank = plan.order <= largest_on_one_rank(plan, platform, dtype);
    plan.tile = default_tile(plan, platform, dtype);
  }
  plan.tile = std::max<index_t>(1, std::min(plan.tile, plan.columns / plan.ranks));
  return plan;
}

CholeskyProblem planned_inverse(const CholeskyProblem& problem, Platform platform, DType dtype) {
  if (problem.engine == Engine::jaxmg) return planned(problem, platform, dtype);
  const CholeskyProblem plan = planned_for_cusolvermg(problem, platform, wrong_inverse_tile / 2);
  if (plan.tile >= wrong_inverse_tile) {
    throw InvalidArgument("potri: T_A: cuSOLVERMg's inverses are wrong with tiles of " +
                          std::to_string(wrong_inverse_tile) + " and more, got " +
                          std::to_string(plan.tile) + "; leave T_A out, or pass engine=\"jaxmg\"");
  }
  return plan;
}

}  // namespace jaxmg
