// Cholesky factorisation: factor and log det.
#include "jaxmg/potrf.hpp"

#include <cmath>

#include "routine.hpp"
#include "testing/residuals.hpp"

namespace jaxmg_tester {
namespace {

using jaxmg_testing::HostMatrix;
using jaxmg_testing::TestMatrix;

/// |logdet - 2 sum log L_ii| over what summing n terms in double precision and rounding the sum may
/// make. That L itself is right is the factor residual's to say.
template <jaxmg::Scalar T>
double logdet_error(const HostMatrix<T>& L, double logdet) {
  double sum = 0, size = 0;
  for (index_t i = 0; i < L.cols(); ++i) {
    const double term = 2 * std::log(static_cast<double>(jaxmg::real_part(L(i, i))));
    sum += term;
    size += std::abs(term);
  }
  if (logdet == sum) return 0;
  const double summing =
      static_cast<double>(L.cols()) * std::numeric_limits<double>::epsilon() * size;
  const double rounding = std::numeric_limits<jaxmg::real_t<T>>::epsilon() * std::abs(sum);
  return std::abs(logdet - sum) / (summing + rounding);
}

template <jaxmg::Scalar T>
Outcome run(const Case& c) {
  const TestMatrix<T> matrix = jaxmg_testing::make_matrix<T>(c.recipe());
  const auto n = static_cast<double>(c.n);
  Outcome outcome;
  outcome.flops = n * n * n / 3 * (jaxmg::is_complex_v<T> ? 4 : 1);
  for (int i = 0; i < c.repeat && outcome.failure.empty(); ++i) {
    jaxmg::DistributedMatrix<T> A(c.team(), c.n);
    jaxmg_testing::distribute_lower(matrix.A, A);
    std::optional<jaxmg::CholeskyFactor<T>> factor;
    outcome.seconds.push_back(
        seconds_of([&] { factor = jaxmg::potrf(std::move(A), {.tile = c.tile}); }));
    outcome.tile = factor->tile();
    outcome.info = factor->info();
    outcome.failure = judge_info(outcome.info, matrix.first_failure);
    if (!outcome.failure.empty()) break;
    if (outcome.info != 0) {
      if (!std::isnan(factor->logdet())) outcome.failure = "log det is not NaN";
    } else if (c.check && i + 1 == c.repeat) {
      HostMatrix<T> L(c.n, c.n);
      factor->gather(L.view());
      outcome.checks = {{"factor", jaxmg_testing::factor_residual(matrix.A, L), 1},
                        {"logdet", logdet_error(L, static_cast<double>(factor->logdet())), 1}};
    }
  }
  return outcome;
}

const RegisterRoutine potrf({
    "potrf",
    "Cholesky factorisation, A = L L^H",
    Matrices::positive_definite,
    false,
    {"factor", "logdet"},
    [](const Case& c) {
      return jaxmg::visit(c.dtype, [&]<jaxmg::Scalar T>() { return run<T>(c); });
    },
});

}  // namespace
}  // namespace jaxmg_tester
