// What the tester knows of a routine. A new routine is one file with a RegisterRoutine in it.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "jaxmg/team.hpp"
#include "testing/matrices.hpp"

namespace jaxmg_tester {

using jaxmg::index_t;

/// One line of the tester's table.
struct Case {
  jaxmg::DType dtype;
  index_t n;
  index_t tile;  ///< 0: the library chooses
  int ranks;
  std::vector<int> gpus;  ///< of each rank; empty: the CPU
  index_t rhs;
  jaxmg_testing::Kind kind;
  double kappa;
  unsigned seed;
  bool reads_peers_directly;
  int repeat;
  bool check;

  jaxmg::Team team() const {
    if (!gpus.empty()) return jaxmg::Team::cuda(gpus);
    jaxmg::CpuTeamOptions options;
    options.reads_peers_directly = reads_peers_directly;
    return jaxmg::Team::cpu(ranks, options);
  }
  jaxmg_testing::Recipe recipe() const { return {kind, n, kappa, seed}; }
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
  std::string failure;  ///< why the case fails beside its checks; empty if it does not

  bool passed() const;
  /// Why it did not pass, in words.
  std::string reason() const;
  /// The shortest time; a case that never ran has none: NaN.
  double best_seconds() const;
};

struct Routine {
  const char* name;
  const char* description;
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
