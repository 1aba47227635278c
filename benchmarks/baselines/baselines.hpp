// What jaxmg_baselines measures; main.cpp knows no more of it than this.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <vector>

namespace jaxmg_baselines {

enum class DType { float32, float64, complex64, complex128 };

struct Case {
  DType dtype = DType::float64;
  std::int64_t n = 0;
  std::int64_t tile = 0;  ///< of cuSOLVERMg alone
  std::vector<int> devices;
  int warmups = 1;
  int repeats = 3;
  bool check = true;
};

/// A part of a measurement, with a time for each run of it.
struct Stage {
  std::string name;
  std::vector<double> warmup_seconds;
  std::vector<double> seconds;

  void add(bool warmup, double time) { (warmup ? warmup_seconds : seconds).push_back(time); }
};

struct Measurement {
  double flops = 0;                   ///< of one run of all stages; complex operations as four
  std::vector<Stage> stages;          ///< in the order in which they run
  std::vector<double> device_gflops;  ///< of each device, where all do the same at the same time
  /// Scaled by n eps and norms; NaN is a value too, and a bad one. None: not asked for.
  std::optional<double> residual;
};

/// C = A B on every device at the same time, so that what power and heat take shows.
Measurement gemm(const Case& c);

/// cusolverDnXpotrf and cusolverDnXpotrs with one right-hand side, on the first device.
Measurement cusolver_dn_potrs(const Case& c);

/// cusolverMgPotrf and cusolverMgPotrs with one right-hand side.
Measurement cusolver_mg_potrs(const Case& c);

/// cusolverMgPotrf and cusolverMgPotri.
Measurement cusolver_mg_potri(const Case& c);

inline bool is_complex(DType dtype) {
  return dtype == DType::complex64 || dtype == DType::complex128;
}

}  // namespace jaxmg_baselines
