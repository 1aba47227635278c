// Where a rank program tells of its stages.
#pragma once

#include "device/contract_syevd.hpp"
#include "jaxmg/stage.hpp"
#include "team/rank.hpp"

namespace jaxmg {

/// Puts the borders of stages into rank 0's panel queue, where all of a stage's work must come
/// together; nothing where nobody listens.
template <class B>
class Stages {
 public:
  Stages(Rank<B>& rank, const StageListener& listener) : rank_(rank), listener_(listener) {}

  void begin(const char* stage) {
    if (!listener_ || rank_.index() != 0) return;
    B::call_host(rank_.panel(), [listener = listener_, stage] { listener(stage); });
  }
  void end() { begin(nullptr); }

 private:
  Rank<B>& rank_;
  const StageListener& listener_;
};

}  // namespace jaxmg
