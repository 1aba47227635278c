// Inverses: of a matrix, and of a matrix from its Cholesky factor, whose making is not timed.
#include "jaxmg/potri.hpp"

#include <cmath>
#include <optional>

#include "routine.hpp"
#include "testing/residuals.hpp"

namespace jaxmg_tester {
namespace {

using jaxmg_testing::HostMatrix;
using jaxmg_testing::TestMatrix;

/// The residual of an inverse, or, where there is none, that it is NaN throughout.
template <jaxmg::Scalar T>
void judge(const Case& c, const HostMatrix<T>& A, const jaxmg::DistributedMatrix<T>& inverse,
           Outcome& outcome) {
  if (outcome.info == 0 && !c.check) return;
  const HostMatrix<T> X = jaxmg_testing::gather(inverse);
  if (outcome.info == 0) {
    outcome.checks = {{"inverse", jaxmg_testing::inverse_residual(A, X), 10}};
    return;
  }
  for (const T& x : X.values()) {
    if (!std::isnan(jaxmg::real_part(x))) outcome.failure = "the inverse is not NaN throughout";
  }
}

template <jaxmg::Scalar T>
Outcome run_potri(const Case& c) {
  const TestMatrix<T> matrix = jaxmg_testing::make_matrix<T>(c.recipe());
  const auto n = static_cast<double>(c.n);
  Outcome outcome;
  outcome.tile = c.tile;
  outcome.flops = n * n * n * (jaxmg::is_complex_v<T> ? 4 : 1);
  for (int i = 0; i < c.repeat && outcome.failure.empty(); ++i) {
    jaxmg::DistributedMatrix<T> A(c.team(), c.n);
    jaxmg_testing::distribute_lower(matrix.A, A);
    std::optional<jaxmg::PotriResult<T>> result;
    outcome.seconds.push_back(
        seconds_of([&] { result = jaxmg::potri(std::move(A), {.tile = c.tile}); }));
    outcome.info = result->info;
    outcome.failure = judge_info(outcome.info, matrix.first_failure);
    if (!outcome.failure.empty()) break;
    if (outcome.info != 0 && !std::isnan(result->logdet)) outcome.failure = "log det is not NaN";
    if (i + 1 == c.repeat) judge(c, matrix.A, result->inverse, outcome);
  }
  return outcome;
}

template <jaxmg::Scalar T>
Outcome run_inverse(const Case& c) {
  const TestMatrix<T> matrix = jaxmg_testing::make_matrix<T>(c.recipe());
  const auto n = static_cast<double>(c.n);
  Outcome outcome;
  outcome.flops = 2 * n * n * n / 3 * (jaxmg::is_complex_v<T> ? 4 : 1);
  jaxmg::DistributedMatrix<T> A(c.team(), c.n);
  jaxmg_testing::distribute_lower(matrix.A, A);
  const jaxmg::CholeskyFactor<T> factor = jaxmg::potrf(std::move(A), {.tile = c.tile});
  outcome.tile = factor.tile();
  outcome.info = factor.info();
  outcome.failure = judge_info(outcome.info, matrix.first_failure);
  if (!outcome.failure.empty()) return outcome;
  std::optional<jaxmg::DistributedMatrix<T>> result;
  for (int i = 0; i < c.repeat && outcome.failure.empty(); ++i) {
    result.reset();  // no two results at once in the devices' memory
    outcome.seconds.push_back(seconds_of([&] { result = jaxmg::inverse(factor); }));
  }
  judge(c, matrix.A, *result, outcome);
  return outcome;
}

const RegisterRoutine potri({
    "potri",
    "inverse of A, in one sweep",
    Matrices::positive_definite,
    false,
    {"inverse"},
    [](const Case& c) {
      return jaxmg::visit(c.dtype, [&]<jaxmg::Scalar T>() { return run_potri<T>(c); });
    },
});

const RegisterRoutine inverse({
    "inverse",
    "inverse of A from its Cholesky factor",
    Matrices::positive_definite,
    false,
    {"inverse"},
    [](const Case& c) {
      return jaxmg::visit(c.dtype, [&]<jaxmg::Scalar T>() { return run_inverse<T>(c); });
    },
});

}  // namespace
}  // namespace jaxmg_tester
