// How a rank reads from another process's GPU.
#include <thread>

#include "jaxmg/error.hpp"
#include "team/cuda/copy_columns.hpp"
#include "team/cuda/device_link.hpp"

namespace jaxmg::cuda {

using processes::Kind;
using processes::Message;
using processes::RankPlace;

namespace {

/// A thread that waits for another process's answer looks for it so long before it sleeps.
constexpr auto busy_wait = std::chrono::microseconds(100);

}  // namespace

DeviceLink::Inlet& DeviceLink::inlet(int place, const RankPlace& source) {
  std::unique_lock lock(mutex_);
  auto& made = inlets_[{place, source.process, source.place}];
  if (!made) made = std::make_unique<Inlet>();
  if (made->slots != nullptr || made->needs_passage) return *made;
  Peer& peer = peers_[static_cast<std::size_t>(source.process)];
  if (peer.lost) throw DeviceError(peer.why_lost);
  const auto seen = peer.stations.find(source.place);
  try {
    if (peer.is_apart || seen == peer.stations.end()) {
      throw DeviceError("process " + std::to_string(source.process) +
                        " of the job shares no memory of its GPUs with this one");
    }
    const int ordinal = own_[static_cast<std::size_t>(place)].ordinal;
    made->slots = seen->second.station->data_for(ordinal);
    made->slot_bytes = seen->second.slot_bytes;
  } catch (const DeviceError& error) {
    if (sharing_ == Sharing::peer) {
      throw DeviceError(error.what() + std::string("; unset JAXMG_TEAM to use NCCL there"));
    }
    made->needs_passage = true;
  }
  return *made;
}

bool DeviceLink::connect(int place, const RankPlace& source) {
  if (!inlet(place, source).needs_passage) return true;
  bool both = false;
  {
    std::unique_lock lock(mutex_);
    both = peers_[static_cast<std::size_t>(source.process)].is_apart;
  }
  return passages_.connect(place, source, both);
}

void DeviceLink::Inlet::wait_for(std::uint64_t pieces) {
  const auto limit = Clock::now() + busy_wait;
  while (served.load(std::memory_order_acquire) < pieces && Clock::now() < limit) {
    std::this_thread::yield();
  }
  std::unique_lock lock(mutex);
  changed.wait(lock, [&] { return served >= pieces || !failure.empty(); });
  if (!failure.empty()) throw DeviceError(failure);
}

void DeviceLink::Inlet::fail(const std::string& why) {
  std::unique_lock lock(mutex);
  if (failure.empty()) failure = why;
  changed.notify_all();
}

void DeviceLink::read(int place, const RankPlace& source, const std::vector<Mark>& taken,
                      Queue& queue, const ByteColumns<const std::byte>& theirs,
                      const ByteColumns<std::byte>& mine) {
  if (inlet(place, source).needs_passage) {
    passages_.read(place, source, taken, queue.stream(), theirs, mine);
  } else {
    read_station(place, source, taken, queue, theirs, mine);
  }
}

void DeviceLink::read_station(int place, const RankPlace& source, const std::vector<Mark>& taken,
                              Queue& queue, const ByteColumns<const std::byte>& theirs,
                              const ByteColumns<std::byte>& mine) {
  Inlet& from = inlet(place, source);
  std::unique_lock lock(from.reading);
  const ReadPieces pieces(theirs.height, theirs.columns, from.slot_bytes);
  const std::uint64_t first = from.next, last = first + static_cast<std::uint64_t>(pieces.count());
  Message request{Kind::request};
  request.place = place;
  request.target = source.place;
  request.value = first;
  std::size_t sent = 0;
  for (; taken.size() - sent > most_marks; sent += most_marks) {
    courier_.tell(source.process, request, text_of(&taken[sent], most_marks));  // of no columns
  }
  request.address = reinterpret_cast<std::uintptr_t>(theirs.data);
  request.height = theirs.height;
  request.columns = theirs.columns;
  request.stride = theirs.stride;
  courier_.tell(source.process, request, text_of(taken.data() + sent, taken.size() - sent));
  from.next = last;

  // What has been asked for is put into slots, which have to be emptied even after a failure here.
  std::exception_ptr failure;
  for (std::uint64_t piece = first; piece < last;) {
    from.wait_for(piece + 1);
    const std::uint64_t served = std::min(from.served.load(std::memory_order_acquire), last);
    for (; piece < served; ++piece) {
      const ReadPiece part = pieces.piece(static_cast<index_t>(piece - first));
      try {
        consume(from, place, source, piece, part, queue, mine, !failure);
      } catch (...) {
        if (failure) {
          from.fail("an earlier failure");
          std::rethrow_exception(failure);
        }
        failure = std::current_exception();
        consume(from, place, source, piece, part, queue, mine, false);
      }
    }
    if (piece == last) break;
    Message consumed{Kind::consumed};
    consumed.place = place;
    consumed.target = source.place;
    consumed.value = piece;
    courier_.tell(source.process, consumed, {});
  }
  if (failure) std::rethrow_exception(failure);
}

void DeviceLink::consume(Inlet& from, int place, const RankPlace& source, std::uint64_t piece,
                         const ReadPiece& part, Queue& queue, const ByteColumns<std::byte>& mine,
                         bool copies) {
  const Board& theirs = board_of(source.process);
  const cudaStream_t stream = queue.stream();
  theirs.make_wait(stream, word(Board::Side::ready, source.place, identity_.process, place, piece),
                   piece + 1);
  if (copies) {
    const std::byte* const slot =
        from.slots + from.offset +
        piece % Board::slots * static_cast<std::uint64_t>(from.slot_bytes);
    copy_columns(stream, mine.data + part.column * mine.stride + part.row, mine.stride, slot,
                 part.height, part);
  }
  board_->write(stream, word(Board::Side::free, place, source.process, source.place, piece),
                piece + 1);
}

}  // namespace jaxmg::cuda
