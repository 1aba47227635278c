// What the tester makes of a call's stages: times, and a line for those who wait.
#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "jaxmg/stage.hpp"

namespace jaxmg_tester {

struct StageTime {
  std::string name;
  double seconds;
};

/// Follows one call. From its tenth second on it writes the stage that is under way to stderr,
/// every ten seconds.
class StageClock {
 public:
  /// `call` is what the line begins with.
  explicit StageClock(std::string call);
  ~StageClock();
  StageClock(const StageClock&) = delete;
  StageClock& operator=(const StageClock&) = delete;

  /// For the call; not to be used longer than this object.
  jaxmg::StageListener listener();
  /// After the call.
  const std::vector<StageTime>& times() const { return times_; }

 private:
  using Clock = std::chrono::steady_clock;

  void begin(const char* stage);
  void watch();

  const std::string call_;
  const Clock::time_point start_ = Clock::now();
  std::mutex mutex_;
  std::condition_variable wake_;
  bool done_ = false;
  std::string current_;  ///< empty: none
  Clock::time_point begun_;
  std::vector<StageTime> times_;
  std::thread watcher_;  ///< the last member: it uses the others
};

}  // namespace jaxmg_tester
