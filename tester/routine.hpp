// What the tester knows of a routine. A new routine is one file with a RegisterRoutine in it.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "jaxmg/team.hpp"
#include "stages.hpp"
#include "testing/eigen_matrices.hpp"
#include "testing/matrices.hpp"

namespace jaxmg_tester {

using jaxmg::index_t;

/// Which matrices a routine is tried on: those that should be positive definite, or all Hermitian
/// ones.
enum class Matrices { positive_definite, hermitian };

/// A kind of either.
using MatrixKind = std::variant<jaxmg_testing::Kind, jaxmg_testing::EigenKind>;

inline const char* to_string(const MatrixKind& kind) {
  return std::visit([](auto one) { return jaxmg_testing::to_string(one); }, kind);
}

/// The largest condition that may be chosen; infinite where there is none to choose.
double highest_kappa(const MatrixKind& kind, jaxmg::DType dtype);

/// One line of the tester's table.
struct Case {
  jaxmg::DType dtype;
  index_t n;
  index_t tile;  ///< 0: the library chooses
  int ranks;
  std::vector<int> gpus;  ///< of each rank; empty: the CPU
  index_t rhs;
  MatrixKind kind;
  double kappa;
  unsigned seed;
  bool reads_peers_directly;
  int repeat;
  bool check;
  index_t bandwidth;  ///< of an eigensolver; 0: the library chooses

  jaxmg::Team team() const {
    if (!gpus.empty()) return jaxmg::Team::cuda(gpus);
    jaxmg::CpuTeamOptions options;
    options.reads_peers_directly = reads_peers_directly;
    return jaxmg::Team::cpu(ranks, options);
  }
  /// Of a positive definite kind.
  jaxmg_testing::Recipe recipe() const {
    return {std::get<jaxmg_testing::Kind>(kind), n, kappa, seed};
  }
};

/// A number that has to stay below a bound. NaN does not.
struct Check {
  const char* name;
  double value;
  double bound;
  bool passed() const { return value < bound; }
};

/// What came of a case.
struct Outcome {
  index_t tile = 0;             ///< the one that was used
  std::vector<double> seconds;  ///< one a repetition
  double flops = 0;             ///< of one repetition
  std::int32_t info = 0;
  std::vector<Check> checks;
  std::vector<StageTime> stages;  ///< of the fastest repetition, if the routine has stages
  std::string failure;            ///< why the case fails beside its checks; empty if it does not

  bool passed() const;
  /// Why it did not pass, in words.
  std::string reason() const;
  /// The shortest time; a case that never ran has none: NaN.
  double best_seconds() const;
};

struct Routine {
  const char* name;
  const char* description;
  Matrices matrices;
  bool takes_rhs;
  std::vector<const char*> checks;  ///< the names that Outcome::checks may have, in this order
  Outcome (*run)(const Case&);
};

/// All routines, by name.
const std::vector<Routine>& routines();

/// A global of this type makes a routine known to routines().
class RegisterRoutine {
 public:
  explicit RegisterRoutine(Routine routine);
};

/// Seconds that `work()` takes.
template <class Work>
double seconds_of(const Work& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

/// Empty if `info` is what a factorisation of the matrix must report, else what is wrong.
std::string judge_info(std::int32_t info, std::int32_t expected);

}  // namespace jaxmg_tester
