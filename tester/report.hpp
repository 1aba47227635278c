// The tester's table for people and its JSON lines for programs.
#pragma once

#include <fstream>
#include <string>

#include "routine.hpp"

namespace jaxmg_tester {

/// One line a case, aligned below a header, and one JSON object a case.
class Report {
 public:
  /// Throws std::runtime_error if `json_path` is not empty and cannot be written.
  Report(const Routine& routine, const std::vector<int>& gpus, unsigned chaos,
         const std::string& json_path);

  /// Versions, compiler, device and BLAS; warns on stderr about a slow BLAS.
  void print_preamble() const;
  void print_header() const;
  void add(const Case& c, const Outcome& outcome);
  /// The time of each stage, if there are any.
  void print_stages(const Outcome& outcome) const;
  /// How many cases passed and failed.
  void print_summary() const;
  int failures() const { return failures_; }

 private:
  void print_line(const Case& c, const Outcome& outcome) const;
  void write_json(const Case& c, const Outcome& outcome);

  const Routine& routine_;
  std::string device_;
  unsigned chaos_;
  std::string json_path_;
  std::ofstream json_;
  int cases_ = 0;
  int failures_ = 0;
};

}  // namespace jaxmg_tester
