// What ranks tell each other, thread to thread.
#pragma once

#include <memory>
#include <string>

#include "team/processes/descriptor.hpp"

namespace jaxmg {

/// A short text (processes::longest_text), and a descriptor that goes with it, or none: processes
/// of other hosts do not get it.
struct Note {
  std::string text;
  std::shared_ptr<const processes::Descriptor> passed;
};

}  // namespace jaxmg
