// The words of a board, told to processes that do not see it.
#pragma once

#include <algorithm>
#include <chrono>
#include <map>
#include <mutex>
#include <vector>

#include "team/cuda/board.hpp"
#include "team/cuda/mark.hpp"
#include "team/processes/link.hpp"

namespace jaxmg::cuda {

/// For processes that share no memory with this one. GPUs write this process's words as ever; the
/// exchange's thread looks at those that somebody waits for, and tells the others when they have
/// grown; there they are written into a copy of the board, for which streams wait as for any other.
///
/// What that costs: a look at most `interval` late, a message, and a host's write, 50 to 150 us
/// where a word in shared memory takes some few; on the waiting GPU's path, not on that of who has
/// posted. The thread that looks sleeps between looks, and looks only while something is due.
class Relay {
 public:
  static constexpr auto interval = std::chrono::microseconds(50);

  Relay(const Board& board, int process, processes::Courier& courier)
      : board_(board), process_(process), courier_(courier) {}

  /// `process` is to be told when a word gets to what it has been marked with so far, and will be.
  void promise(const Mark& mark, const std::vector<int>& processes) {
    std::unique_lock lock(mutex_);
    auto known = std::find_if(words_.begin(), words_.end(),
                              [&](const Word& word) { return word.number == mark.word; });
    if (known == words_.end()) known = words_.insert(known, {mark.word, 0, 0, {}});
    known->promised = mark.value;
    for (const int process : processes) {
      auto& told = known->processes;
      if (std::find(told.begin(), told.end(), process) == told.end()) told.push_back(process);
    }
  }

  /// Thread. Tells what has happened since.
  void work() {
    std::unique_lock lock(mutex_);
    std::map<int, std::vector<Mark>> news;
    for (Word& word : words_) {
      if (word.told == word.promised) continue;
      const std::uint64_t value = std::min(board_.value(word.number), word.promised);
      if (value <= word.told) continue;
      word.told = value;
      for (const int process : word.processes) {
        news[process].push_back({process_, word.number, value});
      }
    }
    for (const auto& [process, marks] : news) {
      for (std::size_t at = 0; at < marks.size(); at += most_marks) {
        courier_.tell(process, processes::Message{processes::Kind::reached},
                      text_of(&marks[at], std::min(most_marks, marks.size() - at)));
      }
    }
  }

  /// Whether something is due.
  bool has_promised() {
    std::unique_lock lock(mutex_);
    return std::any_of(words_.begin(), words_.end(),
                       [](const Word& word) { return word.told < word.promised; });
  }

 private:
  struct Word {
    int number;
    std::uint64_t promised, told;
    std::vector<int> processes;
  };

  const Board& board_;
  const int process_;
  processes::Courier& courier_;
  std::mutex mutex_;
  std::vector<Word> words_;
};

}  // namespace jaxmg::cuda
