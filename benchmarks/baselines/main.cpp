// jaxmg_baselines: measures NVIDIA's libraries, and prints a JSON object a measurement, a line
// each.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <exception>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "baselines.hpp"

namespace jaxmg_baselines {
namespace {

constexpr int some_case_failed = 1;
constexpr int bad_arguments = 2;

/// A result whose scaled residual is above this is wrong, however fast it came.
constexpr double residual_limit = 10;

struct Routine {
  const char* name;
  const char* description;
  Measurement (*measure)(const Case&);
  bool is_tiled;
  bool on_all_devices;
};

const Routine routines[] = {
    {"gemm", "cublasGemmEx on all devices at the same time", gemm, false, true},
    {"dn_potrs", "cusolverDn on the first device: potrf, potrs", cusolver_dn_potrs, false, false},
    {"mg_potrs", "cuSOLVERMg: potrf, potrs", cusolver_mg_potrs, true, true},
    {"mg_potri", "cuSOLVERMg: potrf, potri", cusolver_mg_potri, true, true},
};

const std::map<std::string, DType> dtypes = {{"float32", DType::float32},
                                             {"float64", DType::float64},
                                             {"complex64", DType::complex64},
                                             {"complex128", DType::complex128}};

template <class Named>
std::vector<std::string> names(const Named& named) {
  std::vector<std::string> result;
  for (const auto& one : named) {
    if constexpr (requires { one.first; }) {
      result.push_back(one.first);
    } else {
      result.push_back(one.name);
    }
  }
  return result;
}

struct Arguments {
  std::vector<std::string> routines = {"gemm"};
  std::vector<std::string> dtypes = {"float64"};
  std::vector<std::int64_t> sizes = {16384};
  std::vector<std::int64_t> tiles = {1024, 2048, 4096};
  std::vector<int> devices = {0};
  int warmups = 1;
  int repeats = 3;
  bool check = true;
};

void add_options(CLI::App& app, Arguments& arguments) {
  std::string routine_help = "what to measure:";
  for (const Routine& routine : routines) {
    routine_help += std::string("\n") + routine.name + ": " + routine.description;
  }
  app.add_option("--routine", arguments.routines, routine_help)
      ->delimiter(',')
      ->check(CLI::IsMember(names(routines)))
      ->capture_default_str();
  app.add_option("--dtype", arguments.dtypes, "NumPy's names of the scalar types")
      ->delimiter(',')
      ->check(CLI::IsMember(names(dtypes)))
      ->capture_default_str();
  app.add_option("--n", arguments.sizes, "orders of the matrices")
      ->delimiter(',')
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{1} << 30))
      ->capture_default_str();
  app.add_option("--tile", arguments.tiles, "cuSOLVERMg's widths of tiles of columns")
      ->delimiter(',')
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{1} << 20))
      ->capture_default_str();
  app.add_option("--devices", arguments.devices, "GPUs, as CUDA numbers them")
      ->delimiter(',')
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  app.add_option("--warmups", arguments.warmups, "runs before the timed ones")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  app.add_option("--repeats", arguments.repeats, "timed runs")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option_function<std::string>(
         "--check", [&](const std::string& answer) { arguments.check = answer == "y"; },
         "compute residuals, y or n")
      ->check(CLI::IsMember({"y", "n"}))
      ->default_str("y");
}

/// Of all stages together, run by run.
std::vector<double> total_seconds(const Measurement& measurement) {
  std::vector<double> total(measurement.stages.front().seconds.size());
  for (const Stage& stage : measurement.stages) {
    for (std::size_t i = 0; i < total.size(); ++i) total[i] += stage.seconds[i];
  }
  return total;
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const std::size_t half = values.size() / 2;
  return values.size() % 2 == 1 ? values[half] : (values[half - 1] + values[half]) / 2;
}

double sum(const std::vector<double>& values) {
  double total = 0;
  for (const double value : values) total += value;
  return total;
}

void put(nlohmann::ordered_json& line, const Measurement& measurement) {
  for (const Stage& stage : measurement.stages) {
    line["stages"][stage.name] = {{"warmup_seconds", stage.warmup_seconds},
                                  {"seconds", stage.seconds}};
  }
  if (measurement.device_gflops.empty()) {
    line["gflops"] = measurement.flops / median(total_seconds(measurement)) * 1e-9;
  } else {
    line["device_gflops"] = measurement.device_gflops;
    line["gflops"] = sum(measurement.device_gflops);
  }
  if (!measurement.residual) return;
  const double residual = *measurement.residual;
  if (std::isfinite(residual)) line["residual"] = residual;
  if (!(residual <= residual_limit)) {
    line["status"] = "failed";
    line["message"] = "residual " + std::to_string(residual) + ", expected at most " +
                      std::to_string(static_cast<int>(residual_limit));
  }
}

/// Prints a line; whether all went well.
bool run(const Routine& routine, const std::string& dtype, const Case& c) {
  nlohmann::ordered_json line = {
      {"routine", routine.name},
      {"dtype", dtype},
      {"n", c.n},
      {"tile", routine.is_tiled ? nlohmann::ordered_json(c.tile) : nullptr},
      {"devices", c.devices},
      {"status", "ok"},
      {"message", nullptr},
      {"stages", nlohmann::ordered_json::object()},
      {"gflops", nullptr},
      {"device_gflops", nullptr},
      {"residual", nullptr},
  };
  try {
    put(line, routine.measure(c));
  } catch (const std::exception& error) {
    line["status"] = "failed";
    line["message"] = error.what();
  }
  std::printf("%s\n", line.dump().c_str());
  std::fflush(stdout);
  return line["status"] == "ok";
}

int run_all(const Arguments& arguments) {
  bool all_well = true;
  for (const Routine& routine : routines) {
    const auto& asked = arguments.routines;
    if (std::find(asked.begin(), asked.end(), routine.name) == asked.end()) continue;
    const std::vector<std::int64_t> tiles =
        routine.is_tiled ? arguments.tiles : std::vector<std::int64_t>{0};
    for (const std::string& dtype : arguments.dtypes) {
      for (const std::int64_t n : arguments.sizes) {
        for (const std::int64_t tile : tiles) {
          Case c{dtypes.at(dtype), n, tile, arguments.devices, arguments.warmups, arguments.repeats,
                 arguments.check};
          if (!routine.on_all_devices) c.devices.resize(1);
          all_well = run(routine, dtype, c) && all_well;
        }
      }
    }
  }
  return all_well ? 0 : some_case_failed;
}

int main(int argc, char** argv) {
  CLI::App app("Measures cuBLAS, cuSOLVER and cuSOLVERMg on random matrices.", "jaxmg_baselines");
  app.footer(
      "Prints a JSON object a measurement. Residuals are scaled by n eps; above 10 a case has "
      "failed. Exits with 0 if all went well, with 1 if a case failed, with 2 for bad arguments.");
  Arguments arguments;
  add_options(app, arguments);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : bad_arguments;
  }
  return run_all(arguments);
}

}  // namespace
}  // namespace jaxmg_baselines

int main(int argc, char** argv) { return jaxmg_baselines::main(argc, argv); }
