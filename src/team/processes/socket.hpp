// Sockets by which processes find each other: local ones, with names that are no files and are gone
// with the process that has them, and, between hosts, TCP.
#pragma once

#include <string>

#include "team/processes/descriptor.hpp"

namespace jaxmg::processes {

/// A socket that listens under `name`, in Linux's abstract namespace. Throws Error.
Descriptor listen_as(const std::string& name);

/// Connected to whoever listens under `name`; empty if nobody does.
Descriptor connect_to(const std::string& name);

/// The next that wants to connect and belongs to the same user; empty if there is none.
Descriptor accept_from(const Descriptor& listening);

/// Where a process listens for those of other hosts: a number of IPv4 or IPv6, and a port.
struct Contact {
  std::string address;
  int port = 0;

  /// "10.0.0.2 4567". Throws Error for anything else.
  static Contact of(const std::string& text);
  std::string text() const { return address + ' ' + std::to_string(port); }
};

/// On its way to be connected to `contact`, which shows when it can be written, or in its error;
/// one whose host does not answer for half a minute has failed. Throws Error.
Descriptor connect_to(const Contact& contact);

/// The next that wants to connect, whoever it is; empty if there is none.
Descriptor accept_stream(const Descriptor& listening);

/// In words, what has happened to a socket that cannot be used any more.
std::string error_of(const Descriptor& socket);

}  // namespace jaxmg::processes
