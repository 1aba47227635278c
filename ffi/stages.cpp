#include "stages.hpp"

#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <utility>

namespace jaxmg::ffi {
namespace {

using Clock = std::chrono::steady_clock;

struct Noted {
  std::mutex mutex;
  bool wanted = false;
  std::string lines;
};

/// Never destroyed: threads of XLA may outlive main().
Noted& noted() {
  static Noted* const all = new Noted;
  return *all;
}

/// The stages of one call so far.
struct Call {
  std::string lines;
  std::string current;  ///< empty: none
  Clock::time_point begun;

  void begin(const char* stage) {
    const Clock::time_point now = Clock::now();
    if (!current.empty()) {
      const std::chrono::duration<double> seconds = now - begun;
      lines += std::to_string(seconds.count()) + " " + current + "\n";
    }
    current = stage == nullptr ? "" : stage;
    begun = now;
    if (stage != nullptr) return;
    std::unique_lock lock(noted().mutex);
    if (noted().wanted) noted().lines = std::move(lines);
  }
};

}  // namespace

void note_stages(bool wanted) {
  std::unique_lock lock(noted().mutex);
  noted().wanted = wanted;
  noted().lines.clear();
}

StageListener stage_listener() {
  std::unique_lock lock(noted().mutex);
  if (!noted().wanted) return {};
  return [call = std::make_shared<Call>()](const char* stage) { call->begin(stage); };
}

std::string noted_stages() {
  std::unique_lock lock(noted().mutex);
  return noted().lines;
}

}  // namespace jaxmg::ffi

extern "C" {

/// For benchmarks: calls from now on note when their stages begin, or no longer.
void jaxmg_note_stages(std::int32_t wanted) { jaxmg::ffi::note_stages(wanted != 0); }

/// The stages of the noted call that ended last, a line "SECONDS NAME" for each, until this thread
/// asks again.
const char* jaxmg_noted_stages() {
  thread_local std::string lines;
  lines = jaxmg::ffi::noted_stages();
  return lines.c_str();
}

}  // extern "C"
