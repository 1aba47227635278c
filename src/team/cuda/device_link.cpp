#include "team/cuda/device_link.hpp"

#include <algorithm>
#include <cstdlib>
#include <iostream>
#include <thread>

#include "device/cuda/current_device.hpp"
#include "jaxmg/error.hpp"
#include "team/cuda/copy_columns.hpp"
#include "team/cuda/device_team.hpp"
#include "team/cuda/nccl_end.hpp"

namespace jaxmg::cuda {

using processes::Descriptor;
using processes::Incoming;
using processes::Kind;
using processes::Message;
using processes::RankPlace;

namespace {

/// Pieces are small enough for copies in and out of slots to overlap.
constexpr index_t largest_slot = index_t{8} << 20;

index_t slot_bytes_for(int others) {
  const index_t share = static_cast<index_t>(Station::bytes) / std::max(1, others) / Board::slots;
  return std::min(largest_slot, share / 512 * 512);
}

/// A thread that waits for another process's answer looks for it so long before it sleeps.
constexpr auto busy_wait = std::chrono::microseconds(100);

/// Of what a lost process was still writing when it was lost.
constexpr auto between_releases = std::chrono::milliseconds(200);

}  // namespace

Sharing chosen_sharing() {
  const char* const text = std::getenv("JAXMG_TEAM");
  const std::string chosen = text == nullptr ? "" : text;
  if (chosen.empty()) return Sharing::automatic;
  if (chosen == "peer") return Sharing::peer;
  if (chosen == "nccl") return Sharing::nccl;
  throw InvalidArgument("JAXMG_TEAM: expected peer or nccl, got " + chosen +
                        "; unset it for what fits");
}

processes::MakeLink DeviceLink::make(int others, Sharing sharing) {
  return [others, sharing](const processes::Identity& identity, processes::Courier& courier) {
    return std::make_unique<DeviceLink>(identity, courier, others, sharing);
  };
}

DeviceLink::DeviceLink(const processes::Identity& identity, processes::Courier& courier, int others,
                       Sharing sharing)
    : identity_(identity),
      courier_(courier),
      others_(others),
      sharing_(sharing),
      slot_bytes_(slot_bytes_for(others)),
      created_(Board::create(identity.processes)),
      board_(created_.first.get()),
      relay_(*board_, identity.process, courier),
      passages_(identity.process, courier, surroundings()),
      peers_(static_cast<std::size_t>(identity.processes)) {}

Passages::Surroundings DeviceLink::surroundings() {
  Passages::Surroundings outside;
  outside.new_name = NcclEnd::new_name;
  outside.make_end = [this](int place, Passages::Role role, const std::string& name) {
    std::unique_lock lock(mutex_);
    return NcclEnd::make(own_.at(static_cast<std::size_t>(place)).ordinal, role, name);
  };
  outside.words_of = [this](int process) -> const Words& { return board_of(process); };
  outside.give_up_on = [this](int process, const std::string& why) { give_up_on(process, why); };
  return outside;
}

std::shared_ptr<processes::Member> DeviceLink::make_team(const processes::CallName& name,
                                                         int size) {
  return std::make_shared<DeviceTeamCall>(courier_, *this, identity_.process, name, size);
}

// ---- Who has what -------------------------------------------------------------------------------

Message DeviceLink::station_at(int place) const {
  Message message{Kind::station};
  message.place = place;
  message.length = slot_bytes_;
  return message;
}

std::vector<std::pair<Message, Descriptor>> DeviceLink::greet(int, processes::Reach reach) {
  const bool shares = reach == processes::Reach::host && sharing_ != Sharing::nccl;
  std::vector<std::pair<Message, Descriptor>> said;
  Message hello{Kind::hello};
  hello.length = static_cast<index_t>(Board::bytes(identity_.processes));
  said.emplace_back(hello, shares ? created_.second.copy() : Descriptor());
  if (!shares) return said;
  std::unique_lock lock(mutex_);
  for (std::size_t place = 0; place < own_.size(); ++place) {
    if (own_[place].station == nullptr) continue;
    said.emplace_back(station_at(static_cast<int>(place)),
                      own_[place].station->descriptor().copy());
  }
  return said;
}

/// A process that passes no board shares nothing.
bool DeviceLink::welcome(int process, processes::Reach, const Message& hello,
                         const Descriptor& passed) {
  if (hello.length != static_cast<index_t>(Board::bytes(identity_.processes))) return false;
  std::unique_lock lock(mutex_);
  Peer& peer = peers_[static_cast<std::size_t>(process)];
  peer.is_apart = passed.empty() || sharing_ == Sharing::nccl;
  peer.board = peer.is_apart ? Board::create(identity_.processes).first
                             : std::make_unique<Board>(passed, identity_.processes);
  return true;
}

/// None where nobody could read from it. It is for others to find out whether they can.
std::unique_ptr<Station> DeviceLink::new_station(int ordinal) const {
  if (sharing_ == Sharing::nccl) return nullptr;
  try {
    return std::make_unique<Station>(ordinal);
  } catch (const DeviceError&) {
    if (sharing_ == Sharing::peer || device_is_lost()) throw;
    return nullptr;
  }
}

int DeviceLink::open(int ordinal) {
  std::unique_lock lock(mutex_);
  const auto here = std::find_if(own_.begin(), own_.end(),
                                 [&](const Own& own) { return own.ordinal == ordinal; });
  if (here != own_.end()) return static_cast<int>(here - own_.begin());
  const int place = static_cast<int>(own_.size());
  if (place == Board::most_places)
    throw Error("a process has too many GPUs for a call with others");
  own_.push_back({ordinal, new_station(ordinal)});
  if (own_.back().station == nullptr) return place;
  const int descriptor = own_.back().station->descriptor().get();
  lock.unlock();
  // A process that is connected to now may be told twice.
  courier_.tell_everybody(station_at(place), {}, descriptor);
  return place;
}

const Board& DeviceLink::board_of(int process) const {
  if (process == identity_.process) return *board_;
  std::unique_lock lock(mutex_);
  const auto& board = peers_.at(static_cast<std::size_t>(process)).board;
  if (!board) throw Error("process " + std::to_string(process) + " has not said who it is");
  return *board;
}

void DeviceLink::give_up() {
  board_->release();
  std::vector<int> apart;
  {
    std::unique_lock lock(mutex_);
    for (std::size_t process = 0; process < peers_.size(); ++process) {
      if (peers_[process].is_apart) apart.push_back(static_cast<int>(process));
    }
  }
  const std::string why =
      "process " + std::to_string(identity_.process) + " of the job has lost a GPU";
  for (const int process : apart) courier_.tell(process, Message{Kind::broken}, why);
}

const std::int32_t* DeviceLink::gone_flag(int process) { return board_of(process).gone_flag(); }

void DeviceLink::watch(Returned call) {
  std::unique_lock lock(mutex_);
  returned_.erase(std::remove_if(returned_.begin(), returned_.end(),
                                 [](const Returned& before) { return before.end.has_happened(); }),
                  returned_.end());
  returned_.push_back(std::move(call));
}

/// With the lock. Those who wait for results that need `process` are told that they do so in vain.
void DeviceLink::report_returned(int process, const std::string& why) const {
  for (const Returned& call : returned_) {
    const auto of = std::find_if(call.ranks.begin(), call.ranks.end(),
                                 [&](const RankPlace& rank) { return rank.process == process; });
    if (of == call.ranks.end() || call.end.has_happened()) continue;
    std::cerr << "jaxmg: rank " << of - call.ranks.begin() << " of " << call.ranks.size()
              << " failed: " << why << "; the results of " << call.text
              << ", which had returned and was under way, are NaN" << std::endl;
  }
}

/// After the teams have been told, so that what is read then is nobody's result.
void DeviceLink::lose(int process) {
  give_up_on(process, "its process, number " + std::to_string(process) + " of the job, has ended");
}

void DeviceLink::give_up_on(int process, const std::string& why) {
  {
    std::unique_lock lock(mutex_);
    Peer& peer = peers_[static_cast<std::size_t>(process)];
    if (peer.lost) return;
    peer.lost = true;
    peer.why_lost = why;
    report_returned(process, why);
    if (peer.board) peer.board->release();  // and again in work()
    for (auto& [pair, inlet] : inlets_) {
      if (std::get<1>(pair) == process) inlet->fail(why);
    }
  }
  passages_.lose(process, why);
}

// ---- Events -------------------------------------------------------------------------------------

Mark DeviceLink::mark(const Lane& lane, const std::vector<int>& others) {
  Mark mark{};
  std::vector<int> apart;
  {
    std::unique_lock lock(mutex_);
    const auto next = static_cast<int>(lanes_.size()) + Board::gone + 1;
    auto& counted = lanes_.try_emplace(&lane, Mark{identity_.process, next, 0}).first->second;
    if (counted.word >= Board::most_lanes) throw Error("too many queues for a board");
    ++counted.value;
    mark = counted;
    std::copy_if(others.begin(), others.end(), std::back_inserter(apart), [this](int process) {
      return peers_[static_cast<std::size_t>(process)].is_apart;
    });
  }
  board_->write(lane.stream, mark.word, mark.value);
  if (!apart.empty()) relay_.promise(mark, apart);
  return mark;
}

Event DeviceLink::event_of(const Mark& mark) {
  return Event(board_of(mark.process), mark.word, mark.value);
}

int DeviceLink::word(Board::Side side, int place, int process, int their_place,
                     std::uint64_t piece) const {
  return Board::word_of(side, place, process, their_place, identity_.processes,
                        static_cast<int>(piece % Board::slots));
}

// ---- Reading ------------------------------------------------------------------------------------

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

// ---- Serving, by the exchange's thread ----------------------------------------------------------

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
