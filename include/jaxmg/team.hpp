// The devices that hold a matrix and work on it together.
#pragma once

#include <chrono>
#include <string>

#include "jaxmg/export.hpp"

namespace jaxmg {

struct CpuTeamOptions {
  /// Read a peer's data where it is instead of pulling a copy. Switched off, ranks behave as
  /// devices with memories of their own do: for tests.
  bool reads_peers_directly = true;
  /// How long a rank waits inside a call while no other rank gets on, before the call fails.
  std::chrono::milliseconds silence = std::chrono::seconds(60);
};

/// A number of ranks. Cheap to copy; any number of teams may be in use at once, from any threads.
class JAXMG_EXPORT Team {
 public:
  /// `ranks` CPU ranks in this process: a thread each while a call runs, all sharing the cores.
  /// Throws InvalidArgument if there is not at least one.
  static Team cpu(int ranks, const CpuTeamOptions& options = {});

  int size() const { return size_; }
  const CpuTeamOptions& options() const { return options_; }

 private:
  Team(int size, const CpuTeamOptions& options) : size_(size), options_(options) {}

  int size_;
  CpuTeamOptions options_;
};

/// The BLAS that CPU ranks compute with, for reports.
JAXMG_EXPORT std::string cpu_blas_name();

/// Random scheduling of CPU ranks, to shake out missing dependencies: work that may run in any
/// order does, and every operation is delayed by up to `max_delay_us` microseconds. Seed 0: off.
JAXMG_EXPORT void set_cpu_chaos(unsigned seed, unsigned max_delay_us = 200);

}  // namespace jaxmg
