#include "team/cuda/device_link.hpp"

#include <algorithm>
#include <cstdlib>
#include <iostream>

#include "jaxmg/error.hpp"
#include "team/cuda/device_team.hpp"
#include "team/cuda/nccl_end.hpp"

namespace jaxmg::cuda {

using processes::Descriptor;
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

}  // namespace jaxmg::cuda
