// How processes reach each other.
#include "team/processes/exchange.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <iostream>
#include <system_error>
#include <thread>

#include <poll.h>
#include <sys/eventfd.h>

#include "jaxmg/error.hpp"

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

}  // namespace

Exchange::Exchange(Identity identity)
    : identity_(std::move(identity)),
      listening_(listen_as(socket_name(identity_.process))),
      waker_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      peers_(static_cast<std::size_t>(identity_.processes)) {
  if (waker_.empty()) throw Error("eventfd: " + std::generic_category().message(errno));
  {
    std::unique_lock lock(mutex_);
    for (int process = 0; process < identity_.processes; ++process) {
      if (process != identity_.process) connect(process);
    }
  }
  std::thread([this] { run(); }).detach();
}

std::string Exchange::socket_name(int process) const {
  return "jaxmg-" + identity_.job + "-" + std::to_string(process);
}

void Exchange::wake() {
  const std::uint64_t one = 1;
  // It can fail only where the thread has been woken more often than it can count.
  [[maybe_unused]] const auto written = ::write(waker_.get(), &one, sizeof one);
}

// ---- Connections --------------------------------------------------------------------------------

/// With the lock. Does nothing if that process does not listen yet: it will connect to this one.
void Exchange::connect(int process) {
  Peer& peer = peers_[static_cast<std::size_t>(process)];
  Descriptor out = connect_to(socket_name(process));
  if (out.empty()) return;
  auto [ring, descriptor] = SharedMemory::create(ring_bytes);
  Message hello{Kind::hello};
  hello.rank = identity_.process;
  hello.length = static_cast<index_t>(ring_bytes);
  if (send_message(out, hello, nullptr, 0, descriptor.get()) != Sent::yes) return;
  peer.out = std::move(out);
  peer.out_ring = std::move(ring);
  tell_waiting(process);
}

/// With the lock.
void Exchange::send(Peer& peer, const Message& message, const std::string& text) {
  if (peer.out.empty()) return;
  const std::size_t bytes = std::min(text.size(), longest_text);
  if (peer.backlog.empty()) {
    // A peer that has gone is noticed by the thread.
    if (send_message(peer.out, message, text.data(), bytes) != Sent::later) return;
    wake();
  }
  peer.backlog.push_back({message, text.substr(0, bytes)});
}

void Exchange::tell(int process, const Message& message, const std::string& text) {
  std::unique_lock lock(mutex_);
  send(peers_[static_cast<std::size_t>(process)], message, text);
}

/// With the lock.
void Exchange::tell_all(const Message& message, const std::string& text) {
  for (Peer& peer : peers_) send(peer, message, text);
}

void Exchange::fetch(int process, const Message& request, const ByteColumns<std::byte>& mine,
                     const cpu::Latch& done) {
  {
    std::unique_lock lock(mutex_);
    Peer& peer = peers_[static_cast<std::size_t>(process)];
    if (!peer.lost && !peer.out.empty()) {
      Message numbered = request;
      numbered.request = next_request_++;
      fetches_.emplace(numbered.request,
                       Fetch{process, numbered, mine, done, request.height * request.columns});
      send(peer, numbered, {});
      return;
    }
  }
  done.open();
}

/// With the lock.
void Exchange::lose(int process, Due& due) {
  Peer& peer = peers_[static_cast<std::size_t>(process)];
  if (peer.lost) return;
  peer.lost = true;
  peer.out.reset();
  peer.in.reset();
  peer.backlog.clear();
  peer.answers.clear();
  peer.out_ring = SharedMemory();
  peer.in_ring = SharedMemory();
  for (auto fetch = fetches_.begin(); fetch != fetches_.end();) {
    if (fetch->second.process != process) {
      ++fetch;
      continue;
    }
    fetch->second.done.open();
    fetch = fetches_.erase(fetch);
  }
  lose_calls(process, due);
}

// ---- The thread ---------------------------------------------------------------------------------

void Exchange::run() {
  bool more = false;  // to answer at once
  while (true) {
    Due due;
    std::vector<pollfd> polled;
    std::vector<int> in, out;  // the processes that the last entries of `polled` belong to
    std::optional<Clock::time_point> next;
    {
      std::unique_lock lock(mutex_);
      next = look_at_clocks(due);
      polled.push_back({waker_.get(), POLLIN, 0});
      polled.push_back({listening_.get(), POLLIN, 0});
      for (const Descriptor& stranger : strangers_) polled.push_back({stranger.get(), POLLIN, 0});
      for (int process = 0; process < identity_.processes; ++process) {
        const Peer& peer = peers_[static_cast<std::size_t>(process)];
        if (peer.in.empty()) continue;
        polled.push_back({peer.in.get(), POLLIN, 0});
        in.push_back(process);
      }
      for (int process = 0; process < identity_.processes; ++process) {
        const Peer& peer = peers_[static_cast<std::size_t>(process)];
        if (peer.out.empty()) continue;
        const short waits_for = peer.backlog.empty() ? short{0} : short{POLLOUT};
        polled.push_back({peer.out.get(), waits_for, 0});
        out.push_back(process);
      }
    }
    due.settle();
    due = {};
    if (::poll(polled.data(), polled.size(), wait_milliseconds(next, more)) < 0) continue;

    std::uint64_t woken = 0;
    [[maybe_unused]] const auto drained = ::read(waker_.get(), &woken, sizeof woken);
    std::vector<Descriptor> strangers = std::exchange(strangers_, {});
    while (true) {
      strangers.push_back(accept_from(listening_));
      if (strangers.back().empty()) break;
    }
    strangers.pop_back();
    for (Descriptor& stranger : strangers) {
      try {
        welcome(std::move(stranger));
      } catch (const Error& error) {
        std::cerr << "jaxmg: a process could not be reached: " << error.what() << std::endl;
      }
    }
    for (const int process : in) receive_all(process);
    for (std::size_t i = 0; i < out.size(); ++i) {
      const short happened = polled[polled.size() - out.size() + i].revents;
      if (happened == 0) continue;
      std::unique_lock lock(mutex_);
      Peer& peer = peers_[static_cast<std::size_t>(out[i])];
      if ((happened & (POLLHUP | POLLERR)) != 0) {
        lose(out[i], due);
        continue;
      }
      while (!peer.backlog.empty()) {
        const Packet& packet = peer.backlog.front();
        if (send_message(peer.out, packet.message, packet.text.data(), packet.text.size()) ==
            Sent::later) {
          break;
        }
        peer.backlog.pop_front();
      }
    }
    due.settle();
    more = false;
    for (int process = 0; process < identity_.processes; ++process) {
      more = answer_one_piece(process) || more;
    }
  }
}

int Exchange::wait_milliseconds(const std::optional<Clock::time_point>& next, bool more) const {
  if (more) return 0;
  if (!next) return -1;
  const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(*next - Clock::now());
  return static_cast<int>(std::clamp<std::int64_t>(left.count() + 1, 0, 60000));
}

/// Somebody of the same user who has connected: a process of the job, once it has said so.
void Exchange::welcome(Descriptor stranger) {
  Incoming incoming;
  const Received received = receive_message(stranger, incoming);
  if (received == Received::nothing) {
    strangers_.push_back(std::move(stranger));
    return;
  }
  const Message& hello = incoming.message;
  if (received == Received::end || hello.kind != Kind::hello || hello.rank < 0 ||
      hello.rank >= identity_.processes || hello.length != static_cast<index_t>(ring_bytes)) {
    return;
  }
  const int process = hello.rank;
  {
    std::unique_lock lock(mutex_);
    Peer& peer = peers_[static_cast<std::size_t>(process)];
    if (peer.lost || !peer.in.empty()) return;
    peer.in_ring = SharedMemory(incoming.passed, ring_bytes);
    peer.in = std::move(stranger);
    if (peer.out.empty()) connect(process);
  }
  receive_all(process);
}

/// All that there is: so what a process has said before it ended counts.
void Exchange::receive_all(int process) {
  const Descriptor& from = peers_[static_cast<std::size_t>(process)].in;
  Incoming incoming;
  while (!from.empty()) {
    const Received received = receive_message(from, incoming);
    if (received == Received::nothing) return;
    if (received == Received::message) {
      handle(process, incoming);
      continue;
    }
    Due due;
    {
      std::unique_lock lock(mutex_);
      lose(process, due);
    }
    due.settle();
  }
}

void Exchange::handle(int process, const Incoming& incoming) {
  const Message& message = incoming.message;
  Peer& peer = peers_[static_cast<std::size_t>(process)];
  switch (message.kind) {
    case Kind::arrive:
    case Kind::refuse: {
      Due due;
      {
        std::unique_lock lock(mutex_);
        if (message.kind == Kind::arrive) {
          handle_arrival(process, message, incoming.text, due);
        } else {
          handle_refusal(process, message, incoming.text, due);
        }
      }
      due.settle();
      return;
    }
    case Kind::post:
    case Kind::happened:
    case Kind::poison:
    case Kind::met: {
      std::shared_ptr<ProcessTeamCall> team;
      {
        std::unique_lock lock(mutex_);
        const auto call = calls_.find(message.call);
        if (call != calls_.end()) team = call->second.team;
      }
      if (team) team->receive(message, incoming.text);
      return;
    }
    case Kind::request:
      peer.answers.push_back({message});
      return;
    case Kind::chunk:
      take_chunk(process, message, incoming.text);
      return;
    case Kind::taken:
      if (message.slot >= 0 && message.slot < ring_slots) {
        peer.busy[static_cast<std::size_t>(message.slot)] = false;
      }
      return;
    case Kind::hello:
      return;
  }
}

/// The next piece of what a peer has asked for, if there is room in the ring for it.
bool Exchange::answer_one_piece(int process) {
  Peer& peer = peers_[static_cast<std::size_t>(process)];
  if (peer.answers.empty()) return false;
  Answer& answer = peer.answers.front();
  const Message& request = answer.request;
  const index_t total = request.height * request.columns;
  Message chunk{Kind::chunk};
  chunk.request = request.request;
  chunk.offset = answer.done;
  std::string bytes;
  std::byte* packed = nullptr;
  if (total <= static_cast<index_t>(longest_text)) {
    chunk.length = total;
    bytes.resize(static_cast<std::size_t>(total));
    packed = reinterpret_cast<std::byte*>(bytes.data());
  } else {
    const auto slot = std::find(peer.busy.begin(), peer.busy.end(), false);
    if (slot == peer.busy.end()) return false;
    *slot = true;
    chunk.slot = static_cast<std::int32_t>(slot - peer.busy.begin());
    chunk.length = std::min(static_cast<index_t>(slot_bytes), total - answer.done);
    packed = peer.out_ring.data() + static_cast<std::size_t>(chunk.slot) * slot_bytes;
  }
  const auto* const source = reinterpret_cast<const std::byte*>(request.address);
  each_run(request, chunk.offset, chunk.length, [&](index_t from, index_t to, std::size_t count) {
    std::memcpy(packed + to, source + from, count);
  });
  answer.done += chunk.length;
  if (answer.done == total) peer.answers.pop_front();
  tell(process, chunk, bytes);
  return true;
}

void Exchange::take_chunk(int process, const Message& chunk, const std::string& bytes) {
  Peer& peer = peers_[static_cast<std::size_t>(process)];
  Fetch* fetch = nullptr;
  {
    std::unique_lock lock(mutex_);
    if (const auto found = fetches_.find(chunk.request); found != fetches_.end()) {
      fetch = &found->second;
    }
  }
  const bool in_ring = chunk.slot >= 0 && chunk.slot < ring_slots;
  if (fetch != nullptr) {
    const std::byte* const packed =
        in_ring ? peer.in_ring.data() + static_cast<std::size_t>(chunk.slot) * slot_bytes
                : reinterpret_cast<const std::byte*>(bytes.data());
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
  if (!in_ring) return;
  Message taken{Kind::taken};
  taken.slot = chunk.slot;
  tell(process, taken, {});
}

}  // namespace jaxmg::processes
