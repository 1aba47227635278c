#include "routine.hpp"

#include <algorithm>
#include <cstdio>
#include <limits>
#include <utility>

namespace jaxmg_tester {
namespace {

/// Filled before main(), in any order.
std::vector<Routine>& registry() {
  static std::vector<Routine> all;
  return all;
}

}  // namespace

double highest_kappa(const MatrixKind& kind, jaxmg::DType dtype) {
  const auto* const definite = std::get_if<jaxmg_testing::Kind>(&kind);
  return definite == nullptr ? std::numeric_limits<double>::infinity()
                             : jaxmg_testing::highest_kappa(*definite, dtype);
}

bool Outcome::passed() const {
  return failure.empty() && std::all_of(checks.begin(), checks.end(),
                                        [](const Check& check) { return check.passed(); });
}

std::string Outcome::reason() const {
  std::string reason = failure;
  for (const Check& check : checks) {
    if (check.passed()) continue;
    char bound[32];
    std::snprintf(bound, sizeof bound, "%g", check.bound);
    reason += (reason.empty() ? "" : "; ") + std::string(check.name) + " is not below " + bound;
  }
  return reason;
}

double Outcome::best_seconds() const {
  if (seconds.empty()) return std::numeric_limits<double>::quiet_NaN();
  return *std::min_element(seconds.begin(), seconds.end());
}

const std::vector<Routine>& routines() { return registry(); }

RegisterRoutine::RegisterRoutine(Routine routine) {
  const auto after = std::upper_bound(
      registry().begin(), registry().end(), std::string(routine.name),
      [](const std::string& name, const Routine& other) { return name < other.name; });
  registry().insert(after, std::move(routine));
}

std::string judge_info(std::int32_t info, std::int32_t expected) {
  if (info == expected) return "";
  return "info " + std::to_string(info) + ", expected " + std::to_string(expected);
}

}  // namespace jaxmg_tester
