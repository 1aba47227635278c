// Descriptors of the operating system, closed when they go.
#pragma once

#include <utility>

#include <fcntl.h>
#include <unistd.h>

namespace jaxmg::processes {

class Descriptor {
 public:
  Descriptor() = default;
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() { reset(); }
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    if (this != &other) {
      reset();
      fd_ = std::exchange(other.fd_, -1);
    }
    return *this;
  }

  /// Another one for the same; empty if there can be none.
  Descriptor copy() const { return Descriptor(::fcntl(fd_, F_DUPFD_CLOEXEC, 0)); }

  int get() const { return fd_; }
  bool empty() const { return fd_ < 0; }
  void reset() {
    if (fd_ >= 0) ::close(fd_);
    fd_ = -1;
  }

 private:
  int fd_ = -1;
};

}  // namespace jaxmg::processes
