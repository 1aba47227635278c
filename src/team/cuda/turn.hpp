// Who may use something that one at a time may use.
#pragma once

#include <algorithm>
#include <deque>

namespace jaxmg::cuda {

/// Given in the order of asking. Whoever gives a turn back is told who has the next one.
template <class Who>
class Turn {
 public:
  /// Whether it is `who`'s at once.
  bool ask(const Who& who) {
    waiting_.push_back(who);
    return waiting_.size() == 1;
  }
  /// Whether somebody has it.
  bool is_taken() const { return !waiting_.empty(); }
  bool is_of(const Who& who) const { return is_taken() && waiting_.front() == who; }
  /// `who` has it no longer, or does not wait for it; true if it is somebody else's from now on.
  bool give_back(const Who& who) {
    const bool was_of = is_of(who);
    waiting_.erase(std::remove(waiting_.begin(), waiting_.end(), who), waiting_.end());
    return was_of && is_taken();
  }
  /// Whose it is.
  const Who& holder() const { return waiting_.front(); }

 private:
  std::deque<Who> waiting_;  // the first has it
};

}  // namespace jaxmg::cuda
