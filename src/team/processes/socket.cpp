#include "team/processes/socket.hpp"

#include <cerrno>
#include <cstring>
#include <memory>
#include <sstream>
#include <system_error>

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "jaxmg/error.hpp"

namespace jaxmg::processes {
namespace {

constexpr int waiting_connections = 1024;

[[noreturn]] void fail(const char* call) {
  throw Error(std::string(call) + ": " + std::generic_category().message(errno));
}

/// The first byte of an abstract name is zero.
std::pair<sockaddr_un, socklen_t> address_of(const std::string& name) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (name.size() + 1 > sizeof address.sun_path) throw Error("socket name too long: " + name);
  std::memcpy(address.sun_path + 1, name.data(), name.size());
  return {address, static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size())};
}

Descriptor new_socket(int flags) {
  Descriptor made(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | flags, 0));
  if (made.empty()) fail("socket");
  return made;
}

bool is_of_same_user(const Descriptor& connection) {
  ucred peer{};
  socklen_t length = sizeof peer;
  return ::getsockopt(connection.get(), SOL_SOCKET, SO_PEERCRED, &peer, &length) == 0 &&
         peer.uid == ::geteuid();
}

/// Messages leave at once, and the end of a host that says nothing any more shows.
void tune(const Descriptor& stream) {
  const auto set = [&stream](int level, int option, int value) {
    if (::setsockopt(stream.get(), level, option, &value, sizeof value) != 0) fail("setsockopt");
  };
  set(IPPROTO_TCP, TCP_NODELAY, 1);
  set(SOL_SOCKET, SO_KEEPALIVE, 1);
  set(IPPROTO_TCP, TCP_KEEPIDLE, 10);
  set(IPPROTO_TCP, TCP_KEEPINTVL, 5);
  set(IPPROTO_TCP, TCP_KEEPCNT, 4);
  set(IPPROTO_TCP, TCP_USER_TIMEOUT, 30'000);
}

}  // namespace

Descriptor listen_as(const std::string& name) {
  Descriptor listening = new_socket(SOCK_NONBLOCK);
  const auto [address, length] = address_of(name);
  if (::bind(listening.get(), reinterpret_cast<const sockaddr*>(&address), length) != 0) {
    fail("bind");
  }
  if (::listen(listening.get(), waiting_connections) != 0) fail("listen");
  return listening;
}

Descriptor connect_to(const std::string& name) {
  Descriptor connection = new_socket(0);
  const auto [address, length] = address_of(name);
  int result = 0;
  do {
    result = ::connect(connection.get(), reinterpret_cast<const sockaddr*>(&address), length);
  } while (result != 0 && errno == EINTR);
  if (result == 0 && is_of_same_user(connection)) return connection;
  if (result != 0 && errno != ECONNREFUSED) fail("connect");
  return Descriptor();
}

Descriptor accept_from(const Descriptor& listening) {
  while (true) {
    Descriptor connection(::accept4(listening.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (connection.empty() && errno == EINTR) continue;
    if (connection.empty() || is_of_same_user(connection)) return connection;
  }
}

Contact Contact::of(const std::string& text) {
  std::istringstream words(text);
  Contact contact;
  std::string more;
  if (words >> contact.address >> contact.port && !(words >> more) && contact.port > 0 &&
      contact.port < 65536) {
    return contact;
  }
  throw Error("expected an address and a port, got \"" + text + '"');
}

Descriptor connect_to(const Contact& contact) {
  addrinfo wanted{};
  wanted.ai_socktype = SOCK_STREAM;
  wanted.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  const int status =
      ::getaddrinfo(contact.address.c_str(), std::to_string(contact.port).c_str(), &wanted, &found);
  if (status != 0) throw Error("address " + contact.address + ": " + ::gai_strerror(status));
  const std::unique_ptr<addrinfo, void (*)(addrinfo*)> all(found, ::freeaddrinfo);
  Descriptor stream(
      ::socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_TCP));
  if (stream.empty()) fail("socket");
  tune(stream);
  if (::connect(stream.get(), found->ai_addr, found->ai_addrlen) != 0 && errno != EINPROGRESS) {
    fail("connect");
  }
  return stream;
}

Descriptor accept_stream(const Descriptor& listening) {
  while (true) {
    Descriptor stream(::accept4(listening.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (stream.empty() && errno == EINTR) continue;
    if (!stream.empty()) tune(stream);
    return stream;
  }
}

std::string error_of(const Descriptor& socket) {
  int error = 0;
  socklen_t length = sizeof error;
  if (::getsockopt(socket.get(), SOL_SOCKET, SO_ERROR, &error, &length) != 0) error = errno;
  return error == 0 ? "the connection has ended" : std::generic_category().message(error);
}

}  // namespace jaxmg::processes
