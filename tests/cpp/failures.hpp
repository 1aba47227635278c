// What calls fail with.
#pragma once

#include <string>

namespace jaxmg::testing {

/// The message of the `Exception` that `call` throws, or "nothing".
template <class Exception, class Call>
std::string message_of(const Call& call) {
  try {
    call();
  } catch (const Exception& error) {
    return error.what();
  }
  return "nothing";
}

}  // namespace jaxmg::testing
