#include "report.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <stdexcept>
#include <thread>

#include <nlohmann/json.hpp>

#include "jaxmg/version.hpp"
#include "sweep.hpp"

namespace jaxmg_tester {
namespace {

#if defined(__clang__)
constexpr const char* compiler = "clang " __clang_version__;
#else
constexpr const char* compiler = "g++ " __VERSION__;
#endif

/// Netlib's own BLAS and LAPACK, by the folders and names that distributions give them.
bool is_reference_blas(const std::string& name) {
  const char* const signs[] = {"/blas/", "/lapack/", "liblapack.so", "libblas.so"};
  return std::any_of(std::begin(signs), std::end(signs),
                     [&](const char* sign) { return name.find(sign) != std::string::npos; });
}

double gigaflops(const Outcome& outcome) { return outcome.flops / outcome.best_seconds() * 1e-9; }

/// A number in `width` columns, or a dash where there is none.
void print_number(int width, const char* format, double number) {
  char text[32];
  std::snprintf(text, sizeof text, format, number);
  std::printf(" %*s", width, std::isnan(number) ? "-" : text);
}

}  // namespace

Report::Report(const Routine& routine, const std::vector<int>& gpus, unsigned chaos,
               const std::string& json_path)
    : routine_(routine), device_(device_text(gpus)), chaos_(chaos), json_path_(json_path) {
  if (json_path_.empty()) return;
  json_.open(json_path_);
  if (!json_) throw std::runtime_error("--json: cannot write to '" + json_path_ + "'");
}

void Report::print_preamble() const {
  const std::string blas = jaxmg::cpu_blas_name();
  std::printf("jaxmg_tester of jaxmg " JAXMG_VERSION ", %s, device: %s, BLAS: %s, %u cores",
              compiler, device_.c_str(), blas.c_str(), std::thread::hardware_concurrency());
  if (chaos_ != 0) std::printf(", chaos seed %u", chaos_);
  std::printf("\n");
  if (is_reference_blas(blas)) {
    std::fflush(stdout);
    std::fprintf(stderr,
                 "warning: this looks like the reference BLAS, which is slow: times say nothing. "
                 "Build jaxmg with -D JAXMG_BLAS=<an optimised BLAS>.\n");
  }
}

void Report::print_header() const {
  std::printf("\n%-12s %-4s %7s %5s %5s %-8s", "routine", "type", "n", "tile", "ranks", "memory");
  if (routine_.takes_rhs) std::printf(" %5s", "rhs");
  std::printf(" %-15s %7s %10s %9s", "kind", "kappa", "time (s)", "GF/s");
  for (const char* const name : routine_.checks) std::printf(" %9s", name);
  std::printf(" %5s  result\n", "info");
}

void Report::add(const Case& c, const Outcome& outcome) {
  ++cases_;
  if (!outcome.passed()) ++failures_;
  print_line(c, outcome);
  if (json_.is_open()) write_json(c, outcome);
}

void Report::print_line(const Case& c, const Outcome& outcome) const {
  std::printf("%-12s %-4c %7lld %5lld %5d %-8s", routine_.name, letter_of(c.dtype),
              static_cast<long long>(c.n), static_cast<long long>(outcome.tile), c.ranks,
              c.reads_peers_directly ? "shared" : "separate");
  if (routine_.takes_rhs) std::printf(" %5lld", static_cast<long long>(c.rhs));
  std::printf(" %-15s", to_string(c.kind));
  const bool chosen = std::isfinite(highest_kappa(c.kind, c.dtype));
  print_number(7, "%.1e", chosen ? c.kappa : std::nan(""));
  print_number(10, "%.3e", outcome.best_seconds());
  print_number(9, "%.2f", gigaflops(outcome));
  for (const char* const name : routine_.checks) {
    const auto check = std::find_if(outcome.checks.begin(), outcome.checks.end(),
                                    [&](const Check& one) { return one.name == name; });
    if (check == outcome.checks.end()) {
      std::printf(" %9s", "-");
    } else {
      std::printf(" %9.2e", check->value);
    }
  }
  std::printf(" %5d  ", outcome.info);
  if (!outcome.passed()) {
    std::printf("FAIL %s\n", outcome.reason().c_str());
  } else {
    std::printf("%s\n", c.check ? "pass" : "not checked");
  }
  std::fflush(stdout);
}

void Report::write_json(const Case& c, const Outcome& outcome) {
  nlohmann::ordered_json line = {
      {"routine", routine_.name},
      {"type", std::string(1, letter_of(c.dtype))},
      {"n", c.n},
      {"tile", outcome.tile},
      {"ranks", c.ranks},
      {"device", device_text(c.gpus)},
      {"memory", c.reads_peers_directly ? "shared" : "separate"},
      {"kind", to_string(c.kind)},
      {"kappa", c.kappa},
      {"seed", c.seed},
      {"chaos", chaos_},
  };
  if (routine_.takes_rhs) line["rhs"] = c.rhs;
  if (routine_.matrices == Matrices::hermitian) line["bandwidth"] = c.bandwidth;
  line["seconds"] = outcome.seconds;
  line["gflops"] = gigaflops(outcome);
  line["info"] = outcome.info;
  for (const Check& check : outcome.checks) {
    line["checks"][check.name] = {{"value", check.value}, {"bound", check.bound}};
  }
  for (const StageTime& stage : outcome.stages) line["stages"][stage.name] = stage.seconds;
  line["checked"] = c.check;
  line["passed"] = outcome.passed();
  if (!outcome.passed()) line["failure"] = outcome.reason();
  line["version"] = JAXMG_VERSION;
  line["compiler"] = compiler;
  line["blas"] = jaxmg::cpu_blas_name();
  json_ << line.dump() << '\n' << std::flush;
  if (!json_) throw std::runtime_error("--json: cannot write to '" + json_path_ + "'");
}

void Report::print_stages(const Outcome& outcome) const {
  for (const StageTime& stage : outcome.stages) {
    std::printf("        %-24s %10.3e s %5.1f %%\n", stage.name.c_str(), stage.seconds,
                100 * stage.seconds / outcome.best_seconds());
  }
  std::fflush(stdout);
}

void Report::print_summary() const {
  std::printf("\n%d of %d cases passed", cases_ - failures_, cases_);
  std::printf(failures_ == 0 ? "\n" : ", %d FAILED\n", failures_);
}

}  // namespace jaxmg_tester
