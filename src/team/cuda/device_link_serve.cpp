// How other processes read from this one's GPUs: what the exchange's thread does.
#include <algorithm>

#include "jaxmg/error.hpp"
#include "team/cuda/copy_columns.hpp"
#include "team/cuda/device_link.hpp"

namespace jaxmg::cuda {

using processes::Incoming;
using processes::Kind;
using processes::Message;

namespace {

/// Of what a lost process was still writing when it was lost.
constexpr auto between_releases = std::chrono::milliseconds(200);

}  // namespace

void DeviceLink::handle(int process, Incoming& incoming) {
  const Message& message = incoming.message;
  const Pair pair(message.target, process, message.place);
  switch (message.kind) {
    case Kind::station: {
      if (incoming.passed.empty()) return;
      std::unique_lock lock(mutex_);
      auto& stations = peers_[static_cast<std::size_t>(process)].stations;
      if (stations.count(message.place) != 0) return;
      stations.emplace(
          message.place,
          Peer::Seen{std::make_unique<PeerStation>(std::move(incoming.passed)), message.length});
      return;
    }
    case Kind::request: {
      Outlet& asked = outlets_[pair];
      asked.consumed = std::max(asked.consumed, message.value);
      asked.requests.emplace_back(message, marks_of(incoming.text));
      serve(pair, asked);
      return;
    }
    case Kind::consumed: {
      Outlet& asked = outlets_[pair];
      asked.consumed = std::max(asked.consumed, message.value);
      serve(pair, asked);
      return;
    }
    case Kind::served: {
      std::unique_lock lock(mutex_);
      const auto known = inlets_.find(pair);
      if (known == inlets_.end()) return;
      Inlet& inlet = *known->second;
      if (!incoming.text.empty()) return inlet.fail(incoming.text);
      std::unique_lock lock_inlet(inlet.mutex);
      inlet.offset = message.address;
      inlet.served.store(message.value, std::memory_order_release);
      inlet.changed.notify_all();
      return;
    }
    case Kind::reached: {
      const Board& copy = board_of(process);
      for (const Mark& mark : marks_of(incoming.text)) copy.set(mark.word, mark.value);
      return;
    }
    case Kind::broken:
      return give_up_on(process, incoming.text);
    default:
      return passages_.handle(process, incoming);
  }
}

void DeviceLink::serve(const Pair& pair, Outlet& asked) {
  const std::uint64_t before = asked.next;
  if (asked.failure.empty()) {
    try {
      enqueue_pieces(pair, asked);
    } catch (const std::exception& error) {
      asked.failure = error.what();
    }
  }
  if (!asked.failure.empty()) asked.requests.clear();
  if (asked.next == before && asked.failure.empty()) return;
  const auto [place, process, their_place] = pair;
  Message served{Kind::served};
  served.place = place;
  served.target = their_place;
  served.value = asked.next;
  served.address = asked.offset;
  courier_.tell(process, served, asked.failure);
}

/// The slots and the stream of a pair, when it is first asked for something.
void DeviceLink::prepare(const Pair& pair, Outlet& asked) {
  std::unique_lock lock(mutex_);
  const auto place = static_cast<std::size_t>(std::get<0>(pair));
  const Station& station = *own_.at(place).station;
  JAXMG_CUDA(cudaSetDevice(station.ordinal()));
  if (asked.stream != nullptr) return;
  const std::int64_t before =
      std::count_if(outlets_.begin(), outlets_.end(), [&](const auto& other) {
        return std::get<0>(other.first) == std::get<0>(pair) && other.second.stream != nullptr;
      });
  if (before >= others_) {
    throw Error("GPUs of other processes are more than the " + std::to_string(others_) +
                " that were there when this process joined the job");
  }
  asked.offset = static_cast<std::uint64_t>(before * slot_bytes_ * Board::slots);
  asked.slots = station.data() + asked.offset;
  int least = 0, greatest = 0;
  JAXMG_CUDA(cudaDeviceGetStreamPriorityRange(&least, &greatest));
  JAXMG_CUDA(cudaStreamCreateWithPriority(&asked.stream, cudaStreamNonBlocking, greatest));
}

void DeviceLink::enqueue_pieces(const Pair& pair, Outlet& asked) {
  const auto [place, process, their_place] = pair;
  prepare(pair, asked);
  while (!asked.requests.empty()) {
    const auto& [request, taken] = asked.requests.front();
    if (!std::exchange(asked.begun, true)) {
      for (const Mark& mark : taken) {
        board_of(mark.process).make_wait(asked.stream, mark.word, mark.value);
      }
    }
    const ReadPieces pieces(request.height, request.columns, slot_bytes_);
    for (; asked.done < pieces.count(); ++asked.done) {
      if (asked.next - asked.consumed == Board::slots) return;
      const auto lock = passages_.hold(place);
      held_ = !lock.owns_lock();
      if (held_) return;
      const std::uint64_t piece = asked.next;
      if (piece >= Board::slots) {
        board_of(process).make_wait(
            asked.stream, word(Board::Side::free, their_place, identity_.process, place, piece),
            piece - Board::slots + 1);
      }
      const ReadPiece part = pieces.piece(asked.done);
      const auto* const source = reinterpret_cast<const std::byte*>(request.address);
      copy_columns(asked.stream, asked.slots + piece % Board::slots * slot_bytes_, part.height,
                   source + part.column * request.stride + part.row, request.stride, part);
      board_->write(asked.stream, word(Board::Side::ready, place, process, their_place, piece),
                    piece + 1);
      ++asked.next;
    }
    asked.requests.pop_front();
    asked.done = 0;
    asked.begun = false;
  }
}

bool DeviceLink::work() {
  relay_.work();
  passages_.work();
  if (std::exchange(held_, false)) {
    for (auto& [pair, asked] : outlets_) {
      if (!asked.requests.empty()) serve(pair, asked);
    }
  }
  if (Clock::now() < next_release_) return held_;
  next_release_ = Clock::now() + between_releases;
  std::unique_lock lock(mutex_);
  for (const Peer& peer : peers_) {
    if (peer.lost && peer.board) peer.board->release();
  }
  return held_;
}

/// What a process's GPUs were writing when it ended may still arrive after its board has been set.
std::optional<DeviceLink::Clock::time_point> DeviceLink::next_look() {
  if (relay_.has_promised()) return Clock::now() + Relay::interval;
  auto next = passages_.next_look();
  std::unique_lock lock(mutex_);
  const bool any = std::any_of(peers_.begin(), peers_.end(), [](const Peer& p) { return p.lost; });
  if (any) next = next ? std::min(*next, next_release_) : next_release_;
  return next;
}

}  // namespace jaxmg::cuda
