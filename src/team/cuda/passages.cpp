#include "team/cuda/passages.hpp"

#include <utility>

#include "jaxmg/error.hpp"

namespace jaxmg::cuda {

using processes::Incoming;
using processes::Kind;
using processes::Message;
using processes::RankPlace;
using State = PassageEnd::State;

namespace {

/// How often what NCCL does by itself is asked for errors, and how often ends that connect are
/// looked at.
constexpr auto between_checks = std::chrono::milliseconds(500);
constexpr auto while_connecting = std::chrono::milliseconds(1);

}  // namespace

// ---- Turns, with the lock -----------------------------------------------------------------------

/// Whether the reader is the lower one of the two GPUs.
bool Passages::reads_first(const Pair& pair, Role role) const {
  const auto& [place, process, their_place] = pair;
  const bool is_lower = std::pair(process_, place) < std::pair(process, their_place);
  return is_lower == (role == Role::receiver);
}

void Passages::ask(const Visitor& visitor) {
  if (turns_[std::get<0>(visitor.pair)].ask(visitor)) has_turn(visitor);
}

void Passages::give_back(const Visitor& visitor) {
  auto& turn = turns_[std::get<0>(visitor.pair)];
  if (turn.give_back(visitor)) has_turn(Visitor(turn.holder()));
}

/// A request has its turn at our GPU: it asks for the other one, or has both.
void Passages::has_turn(const Visitor& visitor) {
  const auto& [pair, role] = visitor;
  const bool is_first = reads_first(pair, role) == (role == Role::receiver);
  if (role == Role::receiver) {
    if (is_first) return send_request(pair);
    return tell(pair, Message{Kind::granted});
  }
  if (is_first) return tell(pair, Message{Kind::offered});
  outlets_[pair].has_turns = true;
}

std::unique_lock<std::mutex> Passages::hold(int place) {
  std::unique_lock lock(mutex_);
  const auto turn = turns_.find(place);
  if (turn != turns_.end() && turn->second.is_taken() &&
      turn->second.holder().role == Role::receiver) {
    lock.unlock();
  }
  return lock;
}

void Passages::tell(const Pair& pair, Message message, const std::string& text) {
  const auto& [place, process, their_place] = pair;
  message.place = place;
  message.target = their_place;
  courier_.tell(process, message, text);
}

// ---- By ranks -----------------------------------------------------------------------------------

/// With the lock.
Passages::Inlet& Passages::inlet(const Pair& pair) {
  auto& made = inlets_[pair];
  if (!made) made = std::make_unique<Inlet>();
  return *made;
}

bool Passages::connect(int place, const RankPlace& other, bool both) {
  const Pair pair(place, other.process, other.place);
  std::unique_lock lock(mutex_);
  if (const auto lost = lost_.find(other.process); lost != lost_.end()) {
    throw DeviceError(lost->second);
  }
  Inlet& from = inlet(pair);
  if (from.end == nullptr) {
    const std::string name = outside_.new_name();
    from.end = outside_.make_end(place, Role::receiver, name);
    tell(pair, Message{Kind::connect}, name);
  }
  const auto is_ready = [](const std::shared_ptr<PassageEnd>& end) {
    if (end == nullptr) return false;
    if (end->state() == State::failed) throw DeviceError(end->failure());
    return end->state() == State::ready;
  };
  return is_ready(from.end) && (!both || is_ready(outlets_[pair].end));
}

void Passages::read(int place, const RankPlace& source, const std::vector<Mark>& taken,
                    cudaStream_t queue, const ByteColumns<const std::byte>& theirs,
                    const ByteColumns<std::byte>& mine) {
  const ReadPieces pieces(theirs.height, theirs.columns, PassageEnd::piece_bytes);
  if (pieces.count() == 0) return;
  const Pair pair(place, source.process, source.place);
  std::unique_lock lock(mutex_);
  Inlet& from = inlet(pair);
  lock.unlock();
  std::unique_lock reading(from.reading);
  from.end->follow(queue);
  lock.lock();
  from.request = Message{Kind::asked};
  from.request.address = reinterpret_cast<std::uintptr_t>(theirs.data);
  from.request.height = theirs.height;
  from.request.columns = theirs.columns;
  from.request.stride = theirs.stride;
  from.taken = taken;
  from.mine = mine;
  from.pieces = pieces;
  from.done = 0;
  const auto lost = [&] { return lost_.find(source.process); };
  if (lost() == lost_.end()) {
    if (reads_first(pair, Role::receiver)) {
      ask({pair, Role::receiver});
    } else {
      send_request(pair);
    }
  }
  changed_.wait(lock, [&] { return from.done == pieces.count() || lost() != lost_.end(); });
  if (lost() != lost_.end()) throw DeviceError(lost()->second);
  lock.unlock();
  from.end->lead(queue);
}

/// With the lock. What the reader has taken may need messages of its own, of no columns.
void Passages::send_request(const Pair& pair) {
  const Inlet& from = inlet(pair);
  std::size_t sent = 0;
  for (; from.taken.size() - sent > most_marks; sent += most_marks) {
    tell(pair, Message{Kind::asked}, text_of(&from.taken[sent], most_marks));
  }
  tell(pair, from.request, text_of(from.taken.data() + sent, from.taken.size() - sent));
}

// ---- By the exchange's thread -------------------------------------------------------------------

void Passages::handle(int process, const Incoming& incoming) {
  const Message& message = incoming.message;
  const Pair pair(message.target, process, message.place);
  std::unique_lock lock(mutex_);
  if (lost_.count(process) != 0) return;
  try {
    switch (message.kind) {
      case Kind::connect:
        outlets_[pair].end = outside_.make_end(message.target, Role::sender, incoming.text);
        return;
      case Kind::asked:
        return take_request(pair, incoming);
      case Kind::offered:
        return ask({pair, Role::receiver});
      case Kind::granted:
        outlets_[pair].has_turns = true;
        return;
      case Kind::sending:
        return receive_piece(pair);
      case Kind::receiving:
        return is_received(pair);
      default:
        return;
    }
  } catch (const std::exception& error) {
    lock.unlock();
    fail(process, error.what());
  }
}

/// With the lock, as what follows.
void Passages::take_request(const Pair& pair, const Incoming& incoming) {
  Outlet& asked = outlets_[pair];
  const std::vector<Mark> marks = marks_of(incoming.text);
  asked.taken.insert(asked.taken.end(), marks.begin(), marks.end());
  if (incoming.message.columns == 0) return;
  if (asked.request) throw Error("a request came before the one before it was done");
  asked.request = incoming.message;
  asked.done = 0;
  ask({pair, Role::sender});
}

void Passages::send_piece(const Pair& pair, Outlet& outlet) {
  for (const Mark& mark : outlet.taken) {
    outlet.end->wait_for(outside_.words_of(mark.process), mark.word, mark.value);
  }
  outlet.taken.clear();
  const Message& request = *outlet.request;
  const ReadPieces pieces(request.height, request.columns, PassageEnd::piece_bytes);
  outlet.end->send(reinterpret_cast<const std::byte*>(request.address), request.stride,
                   pieces.piece(outlet.done));
  outlet.is_sending = true;
  tell(pair, Message{Kind::sending});
}

void Passages::receive_piece(const Pair& pair) {
  Inlet& from = inlet(pair);
  if (!from.pieces || from.done == from.pieces->count()) {
    throw Error("a piece came that nobody had asked for");
  }
  from.end->receive(from.mine.data, from.mine.stride, from.pieces->piece(from.done));
  ++from.done;
  tell(pair, Message{Kind::receiving});
  if (from.done < from.pieces->count()) return;
  give_back({pair, Role::receiver});
  changed_.notify_all();
}

void Passages::is_received(const Pair& pair) {
  Outlet& asked = outlets_[pair];
  asked.is_sending = false;
  if (!asked.request) return;
  const ReadPieces pieces(asked.request->height, asked.request->columns, PassageEnd::piece_bytes);
  if (++asked.done < pieces.count()) return;
  asked.request.reset();
  asked.has_turns = false;
  give_back({pair, Role::sender});
}

void Passages::work() {
  if (Clock::now() >= checked_ + between_checks) check_all();
  std::map<int, std::string> failures;
  {
    std::unique_lock lock(mutex_);
    next_look_ = std::nullopt;
    if (!inlets_.empty() || !outlets_.empty()) next_look_ = checked_ + between_checks;
    for (auto& [pair, outlet] : outlets_) {
      if (!outlet.request || !outlet.has_turns || outlet.is_sending) continue;
      if (outlet.end == nullptr || outlet.end->state() == State::connecting) {
        next_look_ = Clock::now() + while_connecting;
        continue;
      }
      try {
        send_piece(pair, outlet);
      } catch (const std::exception& error) {
        failures.emplace(std::get<1>(pair), error.what());
      }
    }
  }
  for (const auto& [process, why] : failures) fail(process, why);
}

void Passages::check_all() {
  checked_ = Clock::now();
  std::map<int, std::string> failures;
  {
    std::unique_lock lock(mutex_);
    const auto check = [&](const Pair& pair, const std::shared_ptr<PassageEnd>& end) {
      const int process = std::get<1>(pair);
      try {
        if (end != nullptr && lost_.count(process) == 0) end->check();
      } catch (const std::exception& error) {
        failures.emplace(process, error.what());
      }
    };
    for (const auto& [pair, inlet] : inlets_) check(pair, inlet->end);
    for (const auto& [pair, outlet] : outlets_) check(pair, outlet.end);
  }
  for (const auto& [process, why] : failures) fail(process, why);
}

/// What has failed here, the other process is to know.
void Passages::fail(int process, const std::string& why) {
  courier_.tell(process, Message{Kind::broken}, why);
  outside_.give_up_on(process, why);
}

void Passages::lose(int process, const std::string& why) {
  std::unique_lock lock(mutex_);
  if (!lost_.emplace(process, why).second) return;
  for (const auto& [pair, inlet] : inlets_) {
    if (std::get<1>(pair) != process) continue;
    if (inlet->end != nullptr) inlet->end->abort();
    give_back({pair, Role::receiver});
  }
  for (auto& [pair, outlet] : outlets_) {
    if (std::get<1>(pair) != process) continue;
    if (outlet.end != nullptr) outlet.end->abort();
    outlet.request.reset();
    give_back({pair, Role::sender});
  }
  changed_.notify_all();
}

}  // namespace jaxmg::cuda
