#include "stages.hpp"

#include <cstdio>
#include <utility>

namespace jaxmg_tester {
namespace {

constexpr std::chrono::seconds between_lines(10);

}  // namespace

StageClock::StageClock(std::string call) : call_(std::move(call)), watcher_([this] { watch(); }) {}

StageClock::~StageClock() {
  {
    const std::lock_guard lock(mutex_);
    done_ = true;
  }
  wake_.notify_all();
  watcher_.join();
}

jaxmg::StageListener StageClock::listener() {
  return [this](const char* stage) { begin(stage); };
}

void StageClock::begin(const char* stage) {
  const Clock::time_point now = Clock::now();
  const std::lock_guard lock(mutex_);
  if (!current_.empty()) {
    times_.push_back({current_, std::chrono::duration<double>(now - begun_).count()});
  }
  current_ = stage == nullptr ? "" : stage;
  begun_ = now;
}

void StageClock::watch() {
  std::unique_lock lock(mutex_);
  while (!wake_.wait_for(lock, between_lines, [this] { return done_; })) {
    if (current_.empty()) continue;
    const auto seconds = [](Clock::duration time) {
      return static_cast<long long>(std::chrono::duration_cast<std::chrono::seconds>(time).count());
    };
    const Clock::time_point now = Clock::now();
    std::fprintf(stderr, "%s: %lld s, %s for %lld s\n", call_.c_str(), seconds(now - start_),
                 current_.c_str(), seconds(now - begun_));
  }
}

}  // namespace jaxmg_tester
