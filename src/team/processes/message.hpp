// What processes of a job tell each other.
#pragma once

#include <compare>
#include <cstdint>
#include <string>
#include <type_traits>

#include "jaxmg/types.hpp"

namespace jaxmg::processes {

/// One call, by the same name in all processes: a ticket that its ranks have agreed on, or what it
/// is (a hash of its text) and how many such calls a process has joined before.
struct CallName {
  std::int64_t ticket;
  std::uint64_t hash;
  std::int64_t number;
  auto operator<=>(const CallName&) const = default;
};

enum class Kind : std::int32_t {
  hello,     ///< first of all: which process this is; a descriptor of the link's comes with it
  arrive,    ///< `rank` of `size` has come, at `place`; text: for what
  refuse,    ///< the call fails, before it starts or on the sender's ranks; text: why
  post,      ///< `rank` lets its data at `address` be read, under `tag`, once that has happened
  happened,  ///< what `rank` has posted under `tag` may be read
  poison,    ///< `rank` has failed; text: why
  met,       ///< `rank` has come to a meeting
  alive,     ///< `rank`'s host waits for its device
  note,      ///< `rank` tells, under `tag`, the text, and the descriptor that may come with it
  request,   ///< for the columns at `address`: `height` bytes, `columns` of them, `stride` apart
  chunk,  ///< bytes of a request from `offset` on, in `slot` of the ring, or, if that is -1, here
  taken,  ///< `slot` is free again
  // Of links between GPUs alone; see team/cuda/device_link.hpp.
  station,  ///< memory of the device at `place`, whose descriptor comes with it
  served,  ///< pieces up to `value` are under way, for the device at `place`; text: what has failed
  consumed,  ///< pieces up to `value` are on their way out, of the device at `place`
  // Of those that share no memory; see team/cuda/relay.hpp and team/cuda/passages.hpp.
  reached,  ///< text: words of the sender's and their numbers
  connect,  ///< the device at `place` is to be sent data by that at `target`; text: by which name
  asked,    ///< a request to the device at `target` for data that it is to send to `place`
  offered,  ///< it is the request's turn at the device at `place`, and it asks for that at `target`
  granted,  ///< which it has
  sending,  ///< the next piece, from the device at `place`, is enqueued
  receiving,  ///< so it is at the device at `place`, where it is received
  broken      ///< the sender's GPUs can do nothing more with the receiver's; text: why
};

/// Of fixed size; a text, or a chunk's bytes, may follow.
struct Message {
  Kind kind;
  std::int32_t rank = 0;
  std::int32_t size = 0;
  std::int32_t slot = -1;
  std::int32_t place = 0;   ///< one of the sender's devices
  std::int32_t target = 0;  ///< one of the receiver's
  CallName call{};
  index_t tag = 0;
  std::uint64_t address = 0;
  std::uint64_t request = 0;
  index_t height = 0;
  index_t columns = 0;
  index_t stride = 0;
  index_t offset = 0;
  index_t length = 0;
  std::int32_t process = 0;  ///< whose `word` it is; see team/cuda/board.hpp
  std::int32_t word = -1;
  std::uint64_t value = 0;
};
static_assert(std::is_trivially_copyable_v<Message>);

/// Bytes that may follow a message on a host, and between hosts, where data comes with messages.
inline constexpr std::size_t longest_text = 2048;
inline constexpr std::size_t longest_data = std::size_t{1} << 18;

}  // namespace jaxmg::processes
