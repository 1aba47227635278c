// jaxmg_tester ROUTINE [OPTIONS]: runs a routine on every combination of types, sizes, tiles, ranks
// and matrices, and checks each result.
#include <cstdio>
#include <exception>
#include <functional>
#include <stdexcept>

#include <CLI/CLI.hpp>

#include "jaxmg/version.hpp"
#include "report.hpp"
#include "sweep.hpp"

namespace jaxmg_tester {
namespace {

constexpr int some_case_failed = 1;
constexpr int bad_arguments = 2;

/// An option whose text `parse` turns into `value`; what parse throws is told with its name.
template <class Value>
void add_list(CLI::App& app, const std::string& name, Value& value, const std::string& initially,
              const std::function<Value(const std::string&)>& parse, const std::string& help) {
  app.add_option_function<std::string>(
         name,
         [&value, name, parse](const std::string& text) {
           try {
             value = parse(text);
           } catch (const std::invalid_argument& error) {
             throw CLI::ValidationError(name, error.what());
           }
         },
         help)
      ->type_name("LIST")
      ->default_str(initially);
}

std::function<std::vector<index_t>(const std::string&)> integers_from(index_t least) {
  return [least](const std::string& text) { return parse_integers(text, least); };
}

/// How results are told.
struct Output {
  std::string json_path;
  bool timers = false;
};

template <class Kinds>
std::string kinds_text(const Kinds& kinds) {
  std::string text = "kinds of matrices:";
  for (const auto kind : kinds) {
    text += std::string("\n") + to_string(kind) + ": " + description(kind);
  }
  return text;
}

void add_options(CLI::App& app, Sweep& sweep, Output& output, const Routine& routine) {
  add_list<std::vector<jaxmg::DType>>(app, "--type", sweep.types, "d", parse_types,
                                      "scalar types among s, d, c, z");
  add_list<std::vector<index_t>>(app, "--n", sweep.sizes, "100,300,500", integers_from(0),
                                 "orders: 1,53,100:2000:300");
  add_list<std::vector<index_t>>(app, "--tile", sweep.tiles, "0", integers_from(0),
                                 "tile widths; 0 lets the library choose");
  add_list<std::vector<int>>(
      app, "--device", sweep.gpus, "cpu", parse_device,
      "cpu, or a GPU for each rank: cuda:0,1; cuda:0,0,0,0 puts four ranks on "
      "one");
  add_list<std::vector<index_t>>(
      app, "--ranks", sweep.ranks, "", integers_from(1),
      "numbers of ranks: 1,2,4 on the CPU if left out. On GPUs the first "
      "so many of --device, if left out all of them");
  if (routine.takes_rhs) {
    add_list<std::vector<index_t>>(app, "--rhs", sweep.rhs, "1", integers_from(0),
                                   "numbers of right-hand sides");
  }
  const Matrices matrices = routine.matrices;
  const bool hermitian = matrices == Matrices::hermitian;
  add_list<std::vector<MatrixKind>>(
      app, "--kind", sweep.kinds, default_kind(matrices),
      [matrices](const std::string& text) { return parse_kinds(text, matrices); },
      hermitian ? kinds_text(jaxmg_testing::all_eigen_kinds)
                : kinds_text(jaxmg_testing::all_kinds));
  if (hermitian) {
    app.add_option("--bandwidth", sweep.bandwidth,
                   "of the band matrix between the stages; 0 lets the library choose")
        ->check(CLI::NonNegativeNumber)
        ->capture_default_str();
    app.add_flag("--timers", output.timers, "also show the time of each stage");
  } else {
    add_list<std::vector<double>>(app, "--kappa", sweep.kappas, "1e4", parse_kappas,
                                  "condition numbers; lowered to 0.1/eps, for kernels to 1e14 or "
                                  "1e7, where they are larger");
  }
  add_list<std::vector<bool>>(app, "--memory", sweep.reads_peers_directly, "", parse_memory,
                              "on the CPU, shared: ranks read each other's memory, the default; "
                              "separate: they pull copies, as on GPUs");
  app.add_option("--seed", sweep.seed, "seed of matrices and right-hand sides")
      ->capture_default_str();
  app.add_option("--chaos", sweep.chaos, "seed of random delays in the CPU's queues; 0: none")
      ->capture_default_str();
  app.add_option("--repeat", sweep.repeat, "repetitions of a case; the shortest time is shown")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option_function<std::string>(
         "--check", [&sweep](const std::string& answer) { sweep.check = answer == "y"; },
         "compute residuals, y or n; info is always checked")
      ->check(CLI::IsMember({"y", "n"}))
      ->default_str("y");
  app.add_option("--json", output.json_path, "also write one JSON object a case to this file");
}

Outcome run(const Routine& routine, const Case& c) {
  try {
    return routine.run(c);
  } catch (const std::exception& error) {
    Outcome outcome;
    outcome.tile = c.tile;
    outcome.failure = error.what();
    return outcome;
  }
}

int run_sweep(const Routine& routine, Sweep sweep, const Output& output) {
  sweep.complete(routine.matrices);
  jaxmg::set_cpu_chaos(sweep.chaos);
  Report report(routine, sweep.gpus, sweep.chaos, output.json_path);
  report.print_preamble();
  report.print_header();
  for (const Case& c : sweep.cases()) {
    const Outcome outcome = run(routine, c);
    report.add(c, outcome);
    if (output.timers) report.print_stages(outcome);
  }
  report.print_summary();
  return report.failures() == 0 ? 0 : some_case_failed;
}

int main(int argc, char** argv) {
  CLI::App app("Runs a routine of jaxmg on many matrices and checks each result.", "jaxmg_tester");
  app.set_version_flag("--version", "jaxmg_tester " JAXMG_VERSION);
  app.require_subcommand(0, 1);
  app.footer(
      "Residuals are LAPACK's, scaled by n eps. Exits with 0 if all cases pass, with 1 if any "
      "fails, with 2 for bad arguments.");
  Sweep sweep;
  Output output;
  for (const Routine& routine : routines()) {
    add_options(*app.add_subcommand(routine.name, routine.description), sweep, output, routine);
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : bad_arguments;
  }
  try {
    for (const Routine& routine : routines()) {
      if (app.got_subcommand(routine.name)) return run_sweep(routine, sweep, output);
    }
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return bad_arguments;
  }
  std::fprintf(stderr, "Which routine? Expected one of:");
  for (const Routine& routine : routines()) std::fprintf(stderr, " %s", routine.name);
  std::fprintf(stderr, "\nRun with --help for more information.\n");
  return bad_arguments;
}

}  // namespace
}  // namespace jaxmg_tester

int main(int argc, char** argv) { return jaxmg_tester::main(argc, argv); }
