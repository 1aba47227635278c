#include "api/cholesky_plan.hpp"

#include <algorithm>

namespace jaxmg {

void validate(const CholeskyProblem& problem) {
  if (problem.rhs < 0) {
    throw InvalidArgument("right-hand sides: expected 0 or more, got " +
                          std::to_string(problem.rhs));
  }
  problem.layout();  // checks the rest
}

index_t default_cholesky_tile(DType dtype, index_t columns, int ranks) {
  const index_t local = columns / std::max(ranks, 1);
  const index_t widest = dtype == DType::c128 ? 128 : 256;
  return even_tile(local, std::max<index_t>(1, std::min(local, widest)));
}

}  // namespace jaxmg
