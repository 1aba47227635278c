#include "team/processes/connection.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include <sys/socket.h>
#include <sys/uio.h>

namespace jaxmg::processes {
namespace {

union ControlBuffer {
  cmsghdr align;
  std::array<char, CMSG_SPACE(sizeof(int))> bytes;
};

iovec part_of(const void* data, std::size_t bytes) { return {const_cast<void*>(data), bytes}; }

/// Leaves out the first `bytes` of `parts`.
void skip(std::array<iovec, 3>& parts, std::size_t bytes) {
  for (iovec& part : parts) {
    const std::size_t count = std::min(bytes, part.iov_len);
    part = {static_cast<char*>(part.iov_base) + count, part.iov_len - count};
    bytes -= count;
  }
}

void pass(msghdr& header, ControlBuffer& control, int descriptor) {
  header.msg_control = control.bytes.data();
  header.msg_controllen = control.bytes.size();
  cmsghdr* const passed = CMSG_FIRSTHDR(&header);
  passed->cmsg_level = SOL_SOCKET;
  passed->cmsg_type = SCM_RIGHTS;
  passed->cmsg_len = CMSG_LEN(sizeof descriptor);
  std::memcpy(CMSG_DATA(passed), &descriptor, sizeof descriptor);
}

}  // namespace

// ---- Sending ------------------------------------------------------------------------------------

void Sender::send(const Message& message, const std::string& text, int descriptor) {
  if (socket_.empty()) return;
  if (kept_.empty() && try_to_send(message, text, descriptor) != Sent::part) return;
  kept_.push_back({message, text, descriptor});
}

void Sender::go_on() {
  while (!kept_.empty()) {
    const Packet& packet = kept_.front();
    if (try_to_send(packet.message, packet.text, packet.descriptor) == Sent::part) return;
    kept_.pop_front();
  }
}

/// What is left of one message.
Sender::Sent Sender::try_to_send(const Message& message, const std::string& text, int descriptor) {
  Frame frame;
  frame.bytes = static_cast<std::uint32_t>(text.size());
  const bool is_stream = reach_ == Reach::network;
  std::array<iovec, 3> parts{part_of(&frame, is_stream ? sizeof frame : 0),
                             part_of(&message, sizeof message), part_of(text.data(), text.size())};
  const std::size_t all = (is_stream ? sizeof frame : 0) + sizeof message + text.size();
  skip(parts, sent_);
  msghdr header{};
  ControlBuffer control{};
  if (descriptor >= 0) pass(header, control, descriptor);
  while (true) {
    header.msg_iov = parts.data();
    header.msg_iovlen = parts.size();
    const ssize_t count = ::sendmsg(socket_.get(), &header, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) {
      if (errno == EAGAIN || errno == EWOULDBLOCK || errno == ENOBUFS) return Sent::part;
      sent_ = 0;
      return Sent::lost;
    }
    sent_ += static_cast<std::size_t>(count);
    if (sent_ == all) {
      sent_ = 0;
      return Sent::all;
    }
    skip(parts, static_cast<std::size_t>(count));
  }
}

// ---- Receiving ----------------------------------------------------------------------------------

Receiver::Found Receiver::receive(Incoming& incoming) {
  if (reach_ == Reach::host) return receive_packet(incoming);
  if (have_of_head_ < sizeof head_) {
    const Found found = receive_part(&head_, sizeof head_, have_of_head_);
    if (found != Found::message) return found;
    const std::size_t most = trusts_ ? longest(reach_) : longest_text;
    if (head_.frame.format != Frame::current || head_.frame.bytes > most) return Found::end;
    text_.resize(head_.frame.bytes);
  }
  const Found found = receive_part(text_.data(), text_.size(), have_of_text_);
  if (found != Found::message) return found;
  incoming.message = head_.message;
  incoming.passed.reset();
  std::swap(incoming.text, text_);
  have_of_head_ = have_of_text_ = 0;
  return Found::message;
}

/// `message` once all of `wanted` is there.
Receiver::Found Receiver::receive_part(void* into, std::size_t wanted, std::size_t& have) {
  while (have < wanted) {
    const ssize_t count =
        ::recv(socket_.get(), static_cast<char*>(into) + have, wanted - have, MSG_DONTWAIT);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return Found::nothing;
    if (count <= 0) return Found::end;
    have += static_cast<std::size_t>(count);
  }
  return Found::message;
}

Receiver::Found Receiver::receive_packet(Incoming& incoming) {
  incoming.text.resize(longest_text);
  std::array<iovec, 2> parts{part_of(&incoming.message, sizeof incoming.message),
                             part_of(incoming.text.data(), incoming.text.size())};
  msghdr header{};
  header.msg_iov = parts.data();
  header.msg_iovlen = parts.size();
  ControlBuffer control{};
  header.msg_control = control.bytes.data();
  header.msg_controllen = control.bytes.size();
  ssize_t count = 0;
  do {
    count = ::recvmsg(socket_.get(), &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  } while (count < 0 && errno == EINTR);
  if (count < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return Found::nothing;
  if (count < static_cast<ssize_t>(sizeof incoming.message)) return Found::end;
  incoming.text.resize(static_cast<std::size_t>(count) - sizeof incoming.message);
  incoming.passed.reset();
  const cmsghdr* const passed = CMSG_FIRSTHDR(&header);
  if (passed != nullptr && passed->cmsg_type == SCM_RIGHTS) {
    int descriptor = -1;
    std::memcpy(&descriptor, CMSG_DATA(passed), sizeof descriptor);
    incoming.passed = Descriptor(descriptor);
  }
  return Found::message;
}

}  // namespace jaxmg::processes
