// Whole messages, in order, over a socket that leads to another process.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>

#include "team/processes/descriptor.hpp"
#include "team/processes/message.hpp"

namespace jaxmg::processes {

/// What two processes share: a host, and then a local socket that keeps messages apart and passes
/// descriptors; or a network, and then a TCP stream, where each message has a frame.
enum class Reach { host, network };

/// Comes before each message of a stream.
struct Frame {
  /// Changes with what messages are and mean: processes of other versions are not understood.
  static constexpr std::uint32_t current = 0x6a6d6703;

  std::uint32_t format = current;
  std::uint32_t bytes = 0;  ///< that follow the message
};

constexpr std::size_t longest(Reach reach) {
  return reach == Reach::host ? longest_text : longest_data;
}

/// The end that sends. It never waits: what the socket does not take at once is kept. A socket's
/// failure shows in poll(), and what is sent then is lost.
class Sender {
 public:
  Sender() = default;
  Sender(Descriptor socket, Reach reach) : socket_(std::move(socket)), reach_(reach) {}

  /// `text`: at most longest() bytes. `descriptor`: one to pass on, which must stay open until it
  /// is sent, or -1.
  void send(const Message& message, const std::string& text, int descriptor = -1);
  /// Sends what has been kept, as far as the socket takes it.
  void go_on();
  /// Whether something has been kept.
  bool has_more() const { return !kept_.empty(); }

  bool empty() const { return socket_.empty(); }
  const Descriptor& socket() const { return socket_; }
  Reach reach() const { return reach_; }

 private:
  struct Packet {
    Message message;
    std::string text;
    int descriptor;
  };
  enum class Sent { all, part, lost };

  Sent try_to_send(const Message& message, const std::string& text, int descriptor);

  Descriptor socket_;
  Reach reach_ = Reach::host;
  std::deque<Packet> kept_;
  std::size_t sent_ = 0;  // bytes of the message under way
};

/// A message that has come. `passed`: a descriptor that came with it, or empty.
struct Incoming {
  Message message;
  std::string text;
  Descriptor passed;
};

/// The end that receives, without waiting.
class Receiver {
 public:
  enum class Found { message, nothing, end };

  Receiver() = default;
  Receiver(Descriptor socket, Reach reach) : socket_(std::move(socket)), reach_(reach) {}

  /// The next message, if all of it is there. The end, too, is what is no message of this version,
  /// or one with more than longest() bytes; of a stranger: more than longest_text.
  Found receive(Incoming& incoming);
  /// From now on messages may be as long as they come from other processes of the job.
  void trust() { trusts_ = true; }

  bool empty() const { return socket_.empty(); }
  const Descriptor& socket() const { return socket_; }
  Reach reach() const { return reach_; }

 private:
  struct Head {
    Frame frame;
    Message message;
  };
  static_assert(sizeof(Head) == sizeof(Frame) + sizeof(Message));

  Found receive_packet(Incoming& incoming);
  Found receive_part(void* into, std::size_t wanted, std::size_t& have);

  Descriptor socket_;
  Reach reach_ = Reach::host;
  bool trusts_ = false;
  Head head_{};  // of the message under way on a stream
  std::string text_;
  std::size_t have_of_head_ = 0, have_of_text_ = 0;
};

}  // namespace jaxmg::processes
