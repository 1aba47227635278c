// Eigenvalues and eigenvectors, and eigenvalues alone.
#include "jaxmg/syevd.hpp"

#include <algorithm>
#include <cmath>
#include <optional>

#include "routine.hpp"
#include "testing/eigen_matrices.hpp"
#include "testing/reference_eigenvalues.hpp"
#include "testing/residuals.hpp"

namespace jaxmg_tester {
namespace {

using jaxmg_testing::HostMatrix;

template <class Values>
bool all_nan(const Values& values) {
  return std::all_of(values.begin(), values.end(),
                     [](const auto& x) { return std::isnan(std::real(x)); });
}

/// Residuals, or, for a matrix that is not finite, that everything is NaN.
template <jaxmg::Scalar T>
void judge(const Case& c, const HostMatrix<T>& A, const jaxmg::SyevdResult<T>& result,
           Outcome& outcome) {
  const bool finite = std::get<jaxmg_testing::EigenKind>(c.kind) != jaxmg_testing::EigenKind::nan;
  outcome.info = result.info;
  if ((result.info == 0) != (finite || c.n == 0)) {
    outcome.failure = finite ? "info is not 0" : "info is 0";
  } else if (result.info != 0) {
    if (!all_nan(result.w)) outcome.failure = "w is not NaN throughout";
    if (result.vectors && !all_nan(jaxmg_testing::gather(*result.vectors).values())) {
      outcome.failure = "V is not NaN throughout";
    }
  } else if (c.check) {
    if (result.vectors) {
      const HostMatrix<T> V = jaxmg_testing::gather(*result.vectors);
      outcome.checks = {
          {"residual", jaxmg_testing::eigen_residual(A, V, result.w), 10},
          {"orthog", jaxmg_testing::orthogonality_residual(V), 10},
      };
    }
    outcome.checks.push_back({"w error", jaxmg_testing::eigenvalue_error(A, result.w), 10});
  }
}

/// `flops` n^3 is what the reduction, or all stages without deflation, take.
template <jaxmg::Scalar T>
Outcome run(const Case& c, bool eigenvectors) {
  const auto kind = std::get<jaxmg_testing::EigenKind>(c.kind);
  const HostMatrix<T> A = jaxmg_testing::make_eigen_matrix<T>(kind, c.n, c.seed);
  const auto n = static_cast<double>(c.n);
  Outcome outcome;
  outcome.tile = c.tile;
  outcome.flops = (eigenvectors ? 9.0 : 4.0 / 3) * n * n * n * (jaxmg::is_complex_v<T> ? 4 : 1);
  std::optional<jaxmg::SyevdResult<T>> result;
  for (int i = 0; i < c.repeat; ++i) {
    result.reset();  // no two results at once in the devices' memory
    jaxmg::DistributedMatrix<T> matrix(c.team(), c.n);
    jaxmg_testing::distribute_lower(A, matrix);
    StageClock clock(eigenvectors ? "syevd" : "syevd_values");
    const double seconds = seconds_of([&] {
      result =
          jaxmg::syevd(std::move(matrix), {c.tile, c.bandwidth, eigenvectors, clock.listener()});
    });
    if (outcome.seconds.empty() || seconds < outcome.best_seconds()) outcome.stages = clock.times();
    outcome.seconds.push_back(seconds);
  }
  judge(c, A, *result, outcome);
  return outcome;
}

const RegisterRoutine syevd({
    "syevd",
    "eigenvalues and eigenvectors of a Hermitian A; GF/s by 9 n^3 flops",
    Matrices::hermitian,
    false,
    {"residual", "orthog", "w error"},
    [](const Case& c) {
      return jaxmg::visit(c.dtype, [&]<jaxmg::Scalar T>() { return run<T>(c, true); });
    },
});

const RegisterRoutine syevd_values({
    "syevd_values",
    "eigenvalues alone of a Hermitian A; GF/s by 4/3 n^3 flops",
    Matrices::hermitian,
    false,
    {"w error"},
    [](const Case& c) {
      return jaxmg::visit(c.dtype, [&]<jaxmg::Scalar T>() { return run<T>(c, false); });
    },
});

}  // namespace
}  // namespace jaxmg_tester
