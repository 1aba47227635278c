#include "sweep.hpp"

#include <algorithm>
#include <cmath>
#include <sstream>
#include <stdexcept>

namespace jaxmg_tester {
namespace {

constexpr std::pair<char, jaxmg::DType> letters[] = {{'s', jaxmg::DType::f32},
                                                     {'d', jaxmg::DType::f64},
                                                     {'c', jaxmg::DType::c64},
                                                     {'z', jaxmg::DType::c128}};

[[noreturn]] void expected(const std::string& what, const std::string& got) {
  throw std::invalid_argument("expected " + what + "; got '" + got + "'");
}

/// The parts between separators; an empty part counts, so that "1,,2" can be refused.
std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> parts(1);
  for (const char c : text) {
    if (c == separator) {
      parts.emplace_back();
    } else {
      parts.back() += c;
    }
  }
  return parts;
}

/// All of `text` as a number.
template <class Number>
bool read_number(const std::string& text, Number& number) {
  std::istringstream stream(text);
  stream >> number;
  return !stream.fail() && stream.peek() == std::istringstream::traits_type::eof();
}

}  // namespace

char letter_of(jaxmg::DType dtype) {
  for (const auto& [letter, type] : letters) {
    if (type == dtype) return letter;
  }
  return '?';
}

std::vector<index_t> parse_integers(const std::string& text, index_t least) {
  const std::string form =
      "integers of at least " + std::to_string(least) + ", or ranges start:stop[:step]";
  std::vector<index_t> result;
  for (const std::string& part : split(text, ',')) {
    std::vector<index_t> numbers;
    for (const std::string& word : split(part, ':')) {
      index_t number = 0;
      if (!read_number(word, number)) expected(form, part);
      numbers.push_back(number);
    }
    if (numbers.size() > 3) expected(form, part);
    const index_t start = numbers[0];
    const index_t stop = numbers.size() > 1 ? numbers[1] : start;
    const index_t step = numbers.size() > 2 ? numbers[2] : 1;
    if (start < least || stop < start || step < 1) expected(form, part);
    for (index_t number = start; number <= stop; number += step) result.push_back(number);
  }
  return result;
}

std::vector<double> parse_kappas(const std::string& text) {
  std::vector<double> result;
  for (const std::string& part : split(text, ',')) {
    double kappa = 0;
    if (!read_number(part, kappa) || !std::isfinite(kappa) || kappa < 1) {
      expected("numbers of at least 1, such as 1e4", part);
    }
    result.push_back(kappa);
  }
  return result;
}

std::vector<jaxmg::DType> parse_types(const std::string& text) {
  std::vector<jaxmg::DType> result;
  for (const std::string& part : split(text, ',')) {
    const auto found = std::find_if(std::begin(letters), std::end(letters), [&](const auto& entry) {
      return part == std::string(1, entry.first);
    });
    if (found == std::end(letters)) expected("letters among s, d, c, z", part);
    result.push_back(found->second);
  }
  return result;
}

std::vector<MatrixKind> parse_kinds(const std::string& text, Matrices matrices) {
  std::vector<MatrixKind> result;
  for (const std::string& part : split(text, ',')) {
    if (matrices == Matrices::hermitian) {
      result.emplace_back(jaxmg_testing::eigen_kind_from_string(part));
    } else {
      result.emplace_back(jaxmg_testing::kind_from_string(part));
    }
  }
  return result;
}

const char* default_kind(Matrices matrices) {
  return matrices == Matrices::hermitian ? "random" : "spd";
}

std::vector<bool> parse_memory(const std::string& text) {
  std::vector<bool> result;
  for (const std::string& part : split(text, ',')) {
    if (part != "shared" && part != "separate") expected("shared or separate", part);
    result.push_back(part == "shared");
  }
  return result;
}

std::vector<int> parse_device(const std::string& text) {
  if (text == "cpu") return {};
  const std::string prefix = "cuda:";
  const std::string form = "cpu, or cuda: and a GPU for each rank, as in cuda:0,1";
  if (text.compare(0, prefix.size(), prefix) != 0) expected(form, text);
  std::vector<int> gpus;
  for (const std::string& word : split(text.substr(prefix.size()), ',')) {
    int gpu = 0;
    if (!read_number(word, gpu) || gpu < 0) expected(form, text);
    gpus.push_back(gpu);
  }
  return gpus;
}

void Sweep::complete(Matrices matrices) {
  if (kinds.empty()) kinds = parse_kinds(default_kind(matrices), matrices);
  if (gpus.empty()) {
    if (ranks.empty()) ranks = {1, 2, 4};
    if (reads_peers_directly.empty()) reads_peers_directly = {true};
    return;
  }
  if (!reads_peers_directly.empty()) {
    throw std::invalid_argument("--memory: expected --device cpu; got " + device_text(gpus));
  }
  reads_peers_directly = {false};
  const auto all = static_cast<index_t>(gpus.size());
  if (ranks.empty()) ranks = {all};
  for (const index_t count : ranks) {
    if (count <= all) continue;
    throw std::invalid_argument("--ranks: expected at most the " + std::to_string(all) +
                                " ranks of --device " + device_text(gpus) + "; got " +
                                std::to_string(count));
  }
  jaxmg::Team::cuda(gpus);
}

std::string device_text(const std::vector<int>& gpus) {
  std::string text = gpus.empty() ? "cpu" : "cuda:";
  for (std::size_t p = 0; p < gpus.size(); ++p) {
    text += (p == 0 ? "" : ",") + std::to_string(gpus[p]);
  }
  return text;
}

std::vector<Case> Sweep::cases() const {
  std::vector<Case> result;
  for (const jaxmg::DType dtype : types) {
    for (const MatrixKind& kind : kinds) {
      for (const double asked : kappas) {
        const double kappa = std::min(asked, highest_kappa(kind, dtype));
        for (const index_t n : sizes) {
          for (const index_t tile : tiles) {
            for (const index_t team : ranks) {
              const std::vector<int> prefix(gpus.begin(), gpus.begin() + (gpus.empty() ? 0 : team));
              for (const bool direct : reads_peers_directly) {
                for (const index_t columns : rhs) {
                  result.push_back({dtype, n, tile, static_cast<int>(team), prefix, columns, kind,
                                    kappa, seed, direct, repeat, check, bandwidth});
                }
              }
            }
          }
        }
      }
    }
  }
  return result;
}

}  // namespace jaxmg_tester
