#include "team/processes/ring_link.hpp"

#include <algorithm>
#include <cstring>

namespace jaxmg::processes {
namespace {

/// Calls `move(byte of the matrix, byte of the packed columns, count)` for the packed columns'
/// bytes offset .. offset + length.
template <class Move>
void each_run(const Message& columns, index_t offset, index_t length, Move move) {
  for (index_t at = offset; at < offset + length;) {
    const index_t column = at / columns.height, row = at % columns.height;
    const index_t count = std::min(columns.height - row, offset + length - at);
    move(column * columns.stride + row, at - offset, static_cast<std::size_t>(count));
    at += count;
  }
}

bool has_slot(const Message& chunk) { return chunk.slot >= 0 && chunk.slot < RingLink::ring_slots; }

bool is_part_of(const Message& columns, const Message& chunk) {
  return chunk.length > 0 && chunk.offset >= 0 &&
         chunk.offset <= columns.height * columns.columns - chunk.length;
}

}  // namespace

std::unique_ptr<Link> RingLink::make(const Identity& identity, Courier& courier) {
  return std::make_unique<RingLink>(identity, courier);
}

RingLink::RingLink(const Identity& identity, Courier& courier)
    : identity_(identity),
      courier_(courier),
      peers_(static_cast<std::size_t>(identity.processes)) {}

std::shared_ptr<Member> RingLink::make_team(const CallName& name, int size) {
  Fetcher& fetcher = *this;
  return std::make_shared<ProcessTeamCall>(courier_, fetcher, identity_.process, name, size);
}

std::vector<std::pair<Message, Descriptor>> RingLink::greet(int process, Reach reach) {
  Message hello{Kind::hello};
  hello.length = static_cast<index_t>(ring_bytes);
  std::vector<std::pair<Message, Descriptor>> said;
  if (reach == Reach::network) {
    said.emplace_back(hello, Descriptor());
    return said;
  }
  auto [ring, descriptor] = SharedMemory::create(ring_bytes);
  said.emplace_back(hello, std::move(descriptor));
  std::unique_lock lock(mutex_);
  peer(process).out_ring = std::move(ring);
  return said;
}

bool RingLink::welcome(int process, Reach reach, const Message& hello, const Descriptor& passed) {
  if (hello.length != static_cast<index_t>(ring_bytes)) return false;
  if (reach == Reach::network) return true;
  std::unique_lock lock(mutex_);
  peer(process).in_ring = SharedMemory(passed, ring_bytes);
  return true;
}

void RingLink::handle(int process, Incoming& incoming) {
  const Message& message = incoming.message;
  switch (message.kind) {
    case Kind::request:
      peer(process).answers.push_back({message});
      break;
    case Kind::chunk:
      take_chunk(process, message, incoming.text);
      break;
    case Kind::taken:
      if (has_slot(message)) {
        peer(process).busy[static_cast<std::size_t>(message.slot)] = false;
      }
      break;
    default:
      break;
  }
}

bool RingLink::work() {
  bool more = false;
  for (int process = 0; process < identity_.processes; ++process) {
    more = answer_one_piece(process) || more;
  }
  return more;
}

void RingLink::fetch(int process, const Message& request, const ByteColumns<std::byte>& mine,
                     const cpu::Latch& done) {
  Message numbered = request;
  {
    std::unique_lock lock(mutex_);
    if (peer(process).lost) {
      lock.unlock();
      done.open();
      return;
    }
    numbered.request = next_request_++;
    fetches_.emplace(numbered.request,
                     Fetch{process, numbered, mine, done, request.height * request.columns});
  }
  courier_.tell(process, numbered, {});
}

void RingLink::lose(int process) {
  std::unique_lock lock(mutex_);
  peer(process) = Peer();
  peer(process).lost = true;
  for (auto fetch = fetches_.begin(); fetch != fetches_.end();) {
    if (fetch->second.process != process) {
      ++fetch;
      continue;
    }
    fetch->second.done.open();
    fetch = fetches_.erase(fetch);
  }
}

/// The next piece of what a peer has asked for, if there is room in the ring for it.
bool RingLink::answer_one_piece(int process) {
  Peer& asking = peer(process);
  if (asking.answers.empty()) return false;
  Answer& answer = asking.answers.front();
  const Message& request = answer.request;
  const index_t total = request.height * request.columns;
  Message chunk{Kind::chunk};
  chunk.request = request.request;
  chunk.offset = answer.done;
  chunk.length = std::min(static_cast<index_t>(slot_bytes), total - answer.done);
  const bool is_short = total <= static_cast<index_t>(longest_text);
  if (!is_short) {
    const auto slot = std::find(asking.busy.begin(), asking.busy.end(), false);
    if (slot == asking.busy.end()) return false;
    *slot = true;
    chunk.slot = static_cast<std::int32_t>(slot - asking.busy.begin());
  }
  std::string bytes;
  std::byte* packed = asking.out_ring.data();
  if (is_short || packed == nullptr) {
    bytes.resize(static_cast<std::size_t>(chunk.length));
    packed = reinterpret_cast<std::byte*>(bytes.data());
  } else {
    packed += static_cast<std::size_t>(chunk.slot) * slot_bytes;
  }
  const auto* const source = reinterpret_cast<const std::byte*>(request.address);
  each_run(request, chunk.offset, chunk.length, [&](index_t from, index_t to, std::size_t count) {
    std::memcpy(packed + to, source + from, count);
  });
  answer.done += chunk.length;
  if (answer.done == total) asking.answers.pop_front();
  courier_.tell(process, chunk, bytes);
  return true;
}

/// Where a chunk's bytes are: with it, or in its slot of the ring. Null if nowhere.
const std::byte* RingLink::packed_at(int process, const Message& chunk, const std::string& bytes) {
  const auto length = static_cast<std::size_t>(chunk.length);
  if (!bytes.empty()) {
    return bytes.size() == length ? reinterpret_cast<const std::byte*>(bytes.data()) : nullptr;
  }
  const std::byte* const ring = peer(process).in_ring.data();
  if (ring == nullptr || !has_slot(chunk) || length > slot_bytes) return nullptr;
  return ring + static_cast<std::size_t>(chunk.slot) * slot_bytes;
}

/// A chunk that does not belong to what was asked for is left out.
void RingLink::take_chunk(int process, const Message& chunk, const std::string& bytes) {
  Fetch* fetch = nullptr;
  {
    std::unique_lock lock(mutex_);
    if (const auto found = fetches_.find(chunk.request); found != fetches_.end()) {
      fetch = &found->second;
    }
  }
  const std::byte* const packed = packed_at(process, chunk, bytes);
  if (fetch != nullptr && packed != nullptr && is_part_of(fetch->request, chunk)) {
    Message mine = fetch->request;
    mine.stride = fetch->mine.stride;
    std::byte* const target = fetch->mine.data;
    each_run(mine, chunk.offset, chunk.length, [&](index_t to, index_t from, std::size_t count) {
      std::memcpy(target + to, packed + from, count);
    });
    fetch->missing -= chunk.length;
    if (fetch->missing == 0) {
      fetch->done.open();
      std::unique_lock lock(mutex_);
      fetches_.erase(chunk.request);
    }
  }
  if (!has_slot(chunk)) return;
  Message taken{Kind::taken};
  taken.slot = chunk.slot;
  courier_.tell(process, taken, {});
}

}  // namespace jaxmg::processes
