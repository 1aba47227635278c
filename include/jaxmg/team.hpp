// The devices that hold a matrix and work on it together.
#pragma once

#include <chrono>
#include <string>
#include <variant>
#include <vector>

#include "jaxmg/export.hpp"

namespace jaxmg {

struct CpuTeamOptions {
  /// Read a peer's data where it is instead of pulling a copy. Switched off, ranks behave as
  /// devices with memories of their own do: for tests.
  bool reads_peers_directly = true;
  /// How long a rank waits inside a call while no other rank gets on, before the call fails.
  std::chrono::milliseconds silence = std::chrono::seconds(60);
};

struct CudaTeamOptions {
  /// As CpuTeamOptions::silence.
  std::chrono::milliseconds silence = std::chrono::seconds(60);
};

/// CPU ranks in this process, all sharing the cores.
struct CpuRanks {
  int count;
  CpuTeamOptions options;
};

/// Ranks on NVIDIA GPUs: the CUDA ordinal of each rank's GPU.
struct CudaRanks {
  std::vector<int> devices;
  CudaTeamOptions options;
};

/// A number of ranks: a thread each while a call runs, which returns when its results are there.
/// Cheap to copy; any number of teams may be in use at once, from any threads.
class JAXMG_EXPORT Team {
 public:
  /// `ranks` CPU ranks. Throws InvalidArgument if there is not at least one.
  static Team cpu(int ranks, const CpuTeamOptions& options = {});
  /// One rank an entry of `devices`, CUDA ordinals; ranks may share a GPU. Throws DeviceError where
  /// the library has no CUDA engine or there is no GPU, InvalidArgument for no or unknown devices.
  static Team cuda(std::vector<int> devices, const CudaTeamOptions& options = {});

  int size() const { return size_; }
  /// What the ranks are.
  const std::variant<CpuRanks, CudaRanks>& ranks() const { return ranks_; }

 private:
  Team(int size, std::variant<CpuRanks, CudaRanks> ranks) : size_(size), ranks_(std::move(ranks)) {}

  int size_;
  std::variant<CpuRanks, CudaRanks> ranks_;
};

/// How many GPUs there are for Team::cuda(); 0 also where the library has no CUDA engine.
JAXMG_EXPORT int cuda_device_count();

/// The BLAS that CPU ranks compute with, for reports.
JAXMG_EXPORT std::string cpu_blas_name();

/// Random scheduling of CPU ranks, to shake out missing dependencies: work that may run in any
/// order does, and every operation is delayed by up to `max_delay_us` microseconds. Seed 0: off.
JAXMG_EXPORT void set_cpu_chaos(unsigned seed, unsigned max_delay_us = 200);

}  // namespace jaxmg
