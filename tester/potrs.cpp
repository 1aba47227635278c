// Solves with a Cholesky factor. The factorisation is not timed.
#include "jaxmg/potrs.hpp"

#include <algorithm>
#include <cmath>

#include "routine.hpp"
#include "testing/residuals.hpp"

namespace jaxmg_tester {
namespace {

using jaxmg_testing::HostMatrix;
using jaxmg_testing::TestMatrix;

template <jaxmg::Scalar T>
bool all_nan(const HostMatrix<T>& X) {
  return std::all_of(X.values().begin(), X.values().end(),
                     [](const T& x) { return std::isnan(jaxmg::real_part(x)); });
}

template <jaxmg::Scalar T>
Outcome run(const Case& c) {
  const TestMatrix<T> matrix = jaxmg_testing::make_matrix<T>(c.recipe());
  const HostMatrix<T> B = jaxmg_testing::random_matrix<T>(c.n, c.rhs, c.seed + 1);
  const auto n = static_cast<double>(c.n);
  Outcome outcome;
  outcome.flops = 2 * n * n * static_cast<double>(c.rhs) * (jaxmg::is_complex_v<T> ? 4 : 1);

  jaxmg::DistributedMatrix<T> A(c.team(), c.n);
  jaxmg_testing::distribute_lower(matrix.A, A);
  const jaxmg::CholeskyFactor<T> factor = jaxmg::potrf(std::move(A), {.tile = c.tile});
  outcome.tile = factor.tile();
  outcome.info = factor.info();
  outcome.failure = judge_info(outcome.info, matrix.first_failure);
  if (!outcome.failure.empty()) return outcome;

  HostMatrix<T> X;
  for (int i = 0; i < c.repeat; ++i) {
    X = B;
    outcome.seconds.push_back(seconds_of([&] { jaxmg::potrs(factor, X.view()); }));
  }
  if (outcome.info != 0) {
    if (!all_nan(X)) outcome.failure = "the solution is not NaN throughout";
  } else if (c.check) {
    outcome.checks = {{"solve", jaxmg_testing::solve_residual(matrix.A, X, B), 10}};
  }
  return outcome;
}

const RegisterRoutine potrs({
    "potrs",
    "solution of A X = B with a Cholesky factor",
    Matrices::positive_definite,
    true,
    {"solve"},
    [](const Case& c) {
      return jaxmg::visit(c.dtype, [&]<jaxmg::Scalar T>() { return run<T>(c); });
    },
});

}  // namespace
}  // namespace jaxmg_tester
