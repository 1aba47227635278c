// Local sockets with names that are no files: they are gone with the process that has them.
#pragma once

#include <cstddef>
#include <optional>
#include <string>

#include "team/processes/descriptor.hpp"
#include "team/processes/message.hpp"

namespace jaxmg::processes {

/// A socket that listens under `name`, in Linux's abstract namespace. Throws Error.
Descriptor listen_as(const std::string& name);

/// Connected to whoever listens under `name`; empty if nobody does.
Descriptor connect_to(const std::string& name);

/// The next that wants to connect and belongs to the same user; empty if there is none.
Descriptor accept_from(const Descriptor& listening);

enum class Sent { yes, later, never };

/// Sends without blocking. `descriptor`: one to pass on, or -1.
Sent send_message(const Descriptor& to, const Message& message, const void* text, std::size_t bytes,
                  int descriptor = -1);

enum class Received { message, nothing, end };

/// A message, without blocking. `passed`: a descriptor that came with it, or empty.
struct Incoming {
  Message message;
  std::string text;
  Descriptor passed;
};
Received receive_message(const Descriptor& from, Incoming& incoming);

}  // namespace jaxmg::processes
