// Large updates that do not depend on each other, given to a rank's bulk queues in turn.
#pragma once

#include <array>

#include "team/rank.hpp"

namespace jaxmg {

/// rank.bulk() and, where the backend overlaps products, rank.second_bulk(): the first blocks of a
/// product then run where the last ones of another leave a GPU's multiprocessors idle, which is
/// worth 2 to 4 % at n = 16384.
template <Backend B>
class BulkTurns {
 public:
  /// What they are given starts after all that rank.bulk() has been given so far.
  explicit BulkTurns(Rank<B>& rank)
      : queues_{&rank.bulk(), B::overlaps_products ? &rank.second_bulk() : &rank.bulk()} {
    if (two()) queues_[1]->wait(queues_[0]->record());
  }

  /// For what the other queue may do before or after.
  typename B::Queue& next() { return *queues_[turn_++ % 2]; }

  /// What rank.bulk() is given from now on starts after all of it.
  void join() {
    if (two()) queues_[0]->wait(queues_[1]->record());
  }

 private:
  bool two() const { return queues_[0] != queues_[1]; }

  std::array<typename B::Queue*, 2> queues_;
  std::size_t turn_ = 0;
};

}  // namespace jaxmg
