// A TCP socket of this host that listens.
#pragma once

#include <utility>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "jaxmg/error.hpp"
#include "team/processes/socket.hpp"

namespace jaxmg::testing {

class ListeningStream {
 public:
  ListeningStream()
      : descriptor_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    auto* const any = reinterpret_cast<sockaddr*>(&address);
    socklen_t length = sizeof address;
    if (::bind(descriptor_.get(), any, length) != 0 || ::listen(descriptor_.get(), 64) != 0 ||
        ::getsockname(descriptor_.get(), any, &length) != 0) {
      throw Error("cannot listen on this host");
    }
    contact_ = {"127.0.0.1", ntohs(address.sin_port)};
  }

  const processes::Contact& contact() const { return contact_; }
  const processes::Descriptor& descriptor() const { return descriptor_; }
  processes::Descriptor release() { return std::move(descriptor_); }

 private:
  processes::Descriptor descriptor_;
  processes::Contact contact_;
};

}  // namespace jaxmg::testing
