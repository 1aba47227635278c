// How processes reach each other.
#include "team/processes/exchange.hpp"

#include <algorithm>
#include <cerrno>
#include <iostream>
#include <system_error>
#include <thread>

#include <poll.h>
#include <sys/eventfd.h>

#include "jaxmg/error.hpp"

namespace jaxmg::processes {
Exchange::Exchange(Identity identity, const MakeLink& make_link)
    : identity_(std::move(identity)),
      listening_(listen_as(socket_name(identity_.process))),
      waker_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      link_(make_link(identity_, *this)),
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
  for (auto& [message, descriptor] : link_->greet(process)) {
    message.rank = identity_.process;
    // A new connection takes some messages at once.
    if (send_message(out, message, nullptr, 0, descriptor.get()) != Sent::yes) return;
  }
  peer.out = std::move(out);
  tell_waiting(process);
}

/// With the lock.
void Exchange::send(Peer& peer, const Message& message, const std::string& text, int descriptor) {
  if (peer.out.empty()) return;
  const std::size_t bytes = std::min(text.size(), longest_text);
  if (peer.backlog.empty()) {
    // A peer that has gone is noticed by the thread.
    if (send_message(peer.out, message, text.data(), bytes, descriptor) != Sent::later) return;
    wake();
  }
  peer.backlog.push_back({message, text.substr(0, bytes), descriptor});
}

void Exchange::tell(int process, const Message& message, const std::string& text, int descriptor) {
  std::unique_lock lock(mutex_);
  send(peers_[static_cast<std::size_t>(process)], message, text, descriptor);
}

void Exchange::tell_everybody(const Message& message, const std::string& text, int descriptor) {
  std::unique_lock lock(mutex_);
  tell_all(message, text, descriptor);
}

/// With the lock.
void Exchange::tell_all(const Message& message, const std::string& text, int descriptor) {
  for (Peer& peer : peers_) send(peer, message, text, descriptor);
}

/// With the lock.
void Exchange::lose(int process, Due& due) {
  Peer& peer = peers_[static_cast<std::size_t>(process)];
  if (peer.lost) return;
  peer.lost = true;
  peer.out.reset();
  peer.in.reset();
  peer.backlog.clear();
  due.ended.push_back(process);
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
      if (const auto look = link_->next_look()) next = next ? std::min(*next, *look) : look;
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
    settle(due);
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
        if (send_message(peer.out, packet.message, packet.text.data(), packet.text.size(),
                         packet.descriptor) == Sent::later) {
          break;
        }
        peer.backlog.pop_front();
      }
    }
    settle(due);
    more = link_->work() || is_alert();
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
      hello.rank >= identity_.processes) {
    return;
  }
  const int process = hello.rank;
  {
    std::unique_lock lock(mutex_);
    Peer& peer = peers_[static_cast<std::size_t>(process)];
    if (peer.lost || !peer.in.empty() || !link_->welcome(process, hello, incoming.passed)) return;
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
      last_message_ = Clock::now();
      handle(process, incoming);
      continue;
    }
    Due due;
    {
      std::unique_lock lock(mutex_);
      lose(process, due);
    }
    settle(due);
  }
}

void Exchange::handle(int process, Incoming& incoming) {
  const Message& message = incoming.message;
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
      settle(due);
      return;
    }
    case Kind::post:
    case Kind::happened:
    case Kind::poison:
    case Kind::met: {
      std::shared_ptr<Member> team;
      {
        std::unique_lock lock(mutex_);
        const auto call = calls_.find(message.call);
        if (call != calls_.end()) team = call->second.team;
      }
      if (team) team->receive(message, incoming.text);
      return;
    }
    case Kind::request:
    case Kind::chunk:
    case Kind::taken:
    case Kind::station:
    case Kind::served:
    case Kind::consumed:
      link_->handle(process, incoming);
      return;
    case Kind::hello:
      return;
  }
}

}  // namespace jaxmg::processes
