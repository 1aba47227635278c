// When the stages of calls begin and end, for benchmarks: noted only while somebody asks for it,
// since rank 0 then waits for its device between them.
#pragma once

#include <string>

#include "jaxmg/stage.hpp"

namespace jaxmg::ffi {

/// From now on calls note their stages, or no longer. What was noted before is forgotten.
void note_stages(bool wanted);

/// For rank 0 of one call; empty where nobody asked.
StageListener stage_listener();

/// Of the call that ended last: a line "SECONDS NAME" for each stage, in order.
std::string noted_stages();

}  // namespace jaxmg::ffi
