#include "team/processes/socket.hpp"

#include <array>
#include <cerrno>
#include <cstring>
#include <system_error>

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

union ControlBuffer {
  cmsghdr align;
  std::array<char, CMSG_SPACE(sizeof(int))> bytes;
};

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

Sent send_message(const Descriptor& to, const Message& message, const void* text, std::size_t bytes,
                  int descriptor) {
  std::array<iovec, 2> parts{};
  parts[0] = {const_cast<Message*>(&message), sizeof message};
  parts[1] = {const_cast<void*>(text), bytes};
  msghdr header{};
  header.msg_iov = parts.data();
  header.msg_iovlen = bytes == 0 ? 1 : 2;
  ControlBuffer control{};
  if (descriptor >= 0) {
    header.msg_control = control.bytes.data();
    header.msg_controllen = control.bytes.size();
    cmsghdr* const passed = CMSG_FIRSTHDR(&header);
    passed->cmsg_level = SOL_SOCKET;
    passed->cmsg_type = SCM_RIGHTS;
    passed->cmsg_len = CMSG_LEN(sizeof descriptor);
    std::memcpy(CMSG_DATA(passed), &descriptor, sizeof descriptor);
  }
  while (true) {
    if (::sendmsg(to.get(), &header, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0) return Sent::yes;
    if (errno == EINTR) continue;
    return errno == EAGAIN || errno == EWOULDBLOCK || errno == ENOBUFS ? Sent::later : Sent::never;
  }
}

Received receive_message(const Descriptor& from, Incoming& incoming) {
  incoming.text.resize(longest_text);
  std::array<iovec, 2> parts{};
  parts[0] = {&incoming.message, sizeof incoming.message};
  parts[1] = {incoming.text.data(), incoming.text.size()};
  msghdr header{};
  header.msg_iov = parts.data();
  header.msg_iovlen = parts.size();
  ControlBuffer control{};
  header.msg_control = control.bytes.data();
  header.msg_controllen = control.bytes.size();
  ssize_t count = 0;
  do {
    count = ::recvmsg(from.get(), &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  } while (count < 0 && errno == EINTR);
  if (count < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return Received::nothing;
  if (count < static_cast<ssize_t>(sizeof incoming.message)) return Received::end;
  incoming.text.resize(static_cast<std::size_t>(count) - sizeof incoming.message);
  incoming.passed.reset();
  const cmsghdr* const passed = CMSG_FIRSTHDR(&header);
  if (passed != nullptr && passed->cmsg_type == SCM_RIGHTS) {
    int descriptor = -1;
    std::memcpy(&descriptor, CMSG_DATA(passed), sizeof descriptor);
    incoming.passed = Descriptor(descriptor);
  }
  return Received::message;
}

}  // namespace jaxmg::processes
