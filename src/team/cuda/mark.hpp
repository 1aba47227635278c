// What is said between processes about the words of their boards.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "team/processes/message.hpp"

namespace jaxmg::cuda {

/// That a queue of some process has come to a post: its word's number.
struct Mark {
  std::int32_t process;
  std::int32_t word;
  std::uint64_t value;
};

/// Marks that fit into the text of one message.
inline constexpr std::size_t most_marks = processes::longest_text / sizeof(Mark);

inline std::string text_of(const Mark* marks, std::size_t count) {
  return {reinterpret_cast<const char*>(marks), count * sizeof(Mark)};
}

inline std::vector<Mark> marks_of(const std::string& text) {
  std::vector<Mark> marks(text.size() / sizeof(Mark));
  std::memcpy(marks.data(), text.data(), marks.size() * sizeof(Mark));
  return marks;
}

}  // namespace jaxmg::cuda
