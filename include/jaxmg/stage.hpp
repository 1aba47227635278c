// What a long call tells of its progress.
#pragma once

#include <functional>

namespace jaxmg {

/// Called with the name of each stage of a call as rank 0's device begins it, and with null at the
/// end of the last one, if the call gets there; one call after the other, on a thread of the
/// library. It must return soon and call nothing of this library. What it throws fails the call.
using StageListener = std::function<void(const char* stage)>;

}  // namespace jaxmg
