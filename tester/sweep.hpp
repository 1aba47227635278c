// The cases that a command line asks for.
#pragma once

#include <string>
#include <vector>

#include "routine.hpp"

namespace jaxmg_tester {

/// Every combination of the lists is a case.
struct Sweep {
  std::vector<jaxmg::DType> types = {jaxmg::DType::f64};
  std::vector<index_t> sizes = {100, 300, 500};
  std::vector<index_t> tiles = {0};
  std::vector<int> gpus;       ///< a rank each; empty: the CPU
  std::vector<index_t> ranks;  ///< on GPUs: of the first so many of `gpus`
  std::vector<index_t> rhs = {1};
  std::vector<MatrixKind> kinds;  ///< if none is said: spd, or random
  std::vector<double> kappas = {1e4};
  std::vector<bool> reads_peers_directly;  ///< on the CPU
  unsigned seed = 1;
  unsigned chaos = 0;
  int repeat = 1;
  bool check = true;
  index_t bandwidth = 0;

  /// Fills in what was not said and depends on the routine or on the device. Throws
  /// std::invalid_argument if what was said does not go with it, jaxmg::Error if the device is not
  /// there.
  void complete(Matrices matrices);
  /// A kappa that a kind cannot have in a type is lowered to highest_kappa().
  std::vector<Case> cases() const;
};

/// s, d, c or z.
char letter_of(jaxmg::DType dtype);

// The lists of a command line, comma-separated. Each throws std::invalid_argument with a message
// that says what was expected.

/// Integers of at least `least`, and ranges start:stop or start:stop:step with both ends.
std::vector<index_t> parse_integers(const std::string& text, index_t least);
/// Condition numbers, at least 1.
std::vector<double> parse_kappas(const std::string& text);
/// Letters s, d, c, z.
std::vector<jaxmg::DType> parse_types(const std::string& text);
/// Words of Kind, or of EigenKind.
std::vector<MatrixKind> parse_kinds(const std::string& text, Matrices matrices);
/// The word for what is taken where none is said.
const char* default_kind(Matrices matrices);
/// "cpu" (no GPUs), or "cuda:" and the GPU of each rank; and the way back.
std::vector<int> parse_device(const std::string& text);
std::string device_text(const std::vector<int>& gpus);
/// "shared": ranks read each other's memory, "separate": they pull copies.
std::vector<bool> parse_memory(const std::string& text);

}  // namespace jaxmg_tester
