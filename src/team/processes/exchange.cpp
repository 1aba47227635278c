// How processes reach each other.
#include "team/processes/exchange.hpp"

#include <algorithm>
#include <cerrno>
#include <iostream>
#include <system_error>
#include <thread>

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>

#include "jaxmg/error.hpp"

namespace jaxmg::processes {

using namespace std::chrono_literals;

namespace {

/// Of one process, before others have their turn.
constexpr int most_messages_at_once = 64;

/// Who connects says at once who it is. Anybody can connect over a network.
constexpr auto patience_with_strangers = 10s;
constexpr std::size_t most_strangers = 1024;

/// Takes as long whatever the difference.
bool is_equal(const std::string& one, const std::string& other) {
  if (one.size() != other.size()) return false;
  unsigned difference = 0;
  for (std::size_t i = 0; i < one.size(); ++i) {
    difference |= static_cast<unsigned>(one[i] ^ other[i]);
  }
  return difference == 0;
}

}  // namespace

Exchange::Exchange(Identity identity, const MakeLink& make_link, Network network)
    : identity_(std::move(identity)),
      network_(std::move(network)),
      listening_(listen_as(socket_name(identity_.process))),
      waker_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      link_(make_link(identity_, *this)),
      peers_(static_cast<std::size_t>(identity_.processes)) {
  if (waker_.empty()) throw Error("eventfd: " + std::generic_category().message(errno));
  for (const auto& [process, contact] : network_.others) {
    peers_.at(static_cast<std::size_t>(process)).contact = contact;
  }
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
  const Reach reach = peer.contact ? Reach::network : Reach::host;
  Descriptor socket;
  try {
    socket = peer.contact ? connect_to(*peer.contact) : connect_to(socket_name(process));
  } catch (const Error& error) {
    peer.unreachable = error.what();
  }
  if (socket.empty()) return;
  peer.out = Sender(std::move(socket), reach);
  for (auto& [message, descriptor] : link_->greet(process, reach)) {
    message.rank = identity_.process;
    const bool introduces = reach == Reach::network && message.kind == Kind::hello;
    // A new local connection takes some messages at once, while their descriptors are open.
    peer.out.send(message, introduces ? network_.secret + ' ' + network_.contact.text() : "",
                  descriptor.get());
  }
  tell_waiting(process);
}

/// With the lock.
void Exchange::send(Peer& peer, const Message& message, const std::string& text, int descriptor) {
  const Reach reach = peer.out.reach();
  if (peer.out.empty()) return;
  if (reach == Reach::network) descriptor = -1;
  const bool had_more = peer.out.has_more();
  const std::size_t most = longest(reach);
  if (text.size() <= most) {
    peer.out.send(message, text, descriptor);
  } else {
    peer.out.send(message, text.substr(0, most), descriptor);
  }
  // The thread sends the rest, and notices when a peer has gone.
  if (peer.out.has_more() && !had_more) wake();
}

void Exchange::tell(int process, const Message& message, const std::string& text, int descriptor) {
  std::unique_lock lock(mutex_);
  send(peers_[static_cast<std::size_t>(process)], message, text, descriptor);
}

void Exchange::tell_everybody(const Message& message, const std::string& text, int descriptor) {
  std::unique_lock lock(mutex_);
  tell_all(message, text, descriptor);
}

/// Processes of other hosts, and they alone, have said where they can be reached.
bool Exchange::shares_host(int process) {
  std::unique_lock lock(mutex_);
  return !peers_[static_cast<std::size_t>(process)].contact;
}

/// With the lock.
void Exchange::tell_all(const Message& message, const std::string& text, int descriptor) {
  for (Peer& peer : peers_) send(peer, message, text, descriptor);
}

/// With the lock.
void Exchange::lose_unreachable(Due& due) {
  for (int process = 0; process < identity_.processes; ++process) {
    const Peer& peer = peers_[static_cast<std::size_t>(process)];
    if (peer.unreachable.empty()) continue;
    const std::string where = peer.contact ? " at " + peer.contact->text() : "";
    lose(process,
         "cannot be reached" + where + " (" + peer.unreachable +
             "); can the hosts of the job connect to each other?",
         due);
  }
}

/// With the lock.
void Exchange::lose(int process, const std::string& why, Due& due) {
  Peer& peer = peers_[static_cast<std::size_t>(process)];
  if (peer.lost) return;
  peer = Peer();
  peer.lost = true;
  peer.why_lost = why;
  due.ended.push_back(process);
  lose_calls(process, due);
}

// ---- The thread ---------------------------------------------------------------------------------

void Exchange::run() {
  ::prctl(PR_SET_TIMERSLACK, 1000ul);  // in ns: a link may ask to come back within microseconds
  bool more = false;                   // to answer at once
  while (true) {
    Due due;
    std::vector<pollfd> polled;
    std::vector<int> in, out;  // the processes that the last entries of `polled` belong to
    std::optional<Clock::time_point> next;
    {
      std::unique_lock lock(mutex_);
      lose_unreachable(due);
      next = look_at_clocks(due);
      if (const auto look = link_->next_look()) next = next ? std::min(*next, *look) : look;
      polled.push_back({waker_.get(), POLLIN, 0});
      polled.push_back({listening_.get(), POLLIN, 0});
      polled.push_back({network_.listening.get(), POLLIN, 0});
      for (const Stranger& stranger : strangers_) {
        polled.push_back({stranger.from.socket().get(), POLLIN, 0});
        next = next ? std::min(*next, stranger.until) : stranger.until;
      }
      for (int process = 0; process < identity_.processes; ++process) {
        const Peer& peer = peers_[static_cast<std::size_t>(process)];
        if (peer.in.empty()) continue;
        polled.push_back({peer.in.socket().get(), POLLIN, 0});
        in.push_back(process);
      }
      for (int process = 0; process < identity_.processes; ++process) {
        const Peer& peer = peers_[static_cast<std::size_t>(process)];
        if (peer.out.empty()) continue;
        const short waits_for = peer.out.has_more() ? short{POLLOUT} : short{0};
        polled.push_back({peer.out.socket().get(), waits_for, 0});
        out.push_back(process);
      }
    }
    settle(due);
    due = {};
    const auto wait = wait_at_most(next, more);
    if (::ppoll(polled.data(), polled.size(), wait ? &*wait : nullptr, nullptr) < 0) continue;

    std::uint64_t woken = 0;
    [[maybe_unused]] const auto drained = ::read(waker_.get(), &woken, sizeof woken);
    let_in();
    more = false;
    for (const int process : in) more = receive_some(process) || more;
    for (std::size_t i = 0; i < out.size(); ++i) {
      send_more(out[i], polled[polled.size() - out.size() + i].revents, due);
    }
    settle(due);
    more = link_->work() || is_alert() || more;
  }
}

/// For poll(): nothing if it may wait for ever.
std::optional<timespec> Exchange::wait_at_most(const std::optional<Clock::time_point>& next,
                                               bool more) {
  if (more) return timespec{0, 0};
  if (!next) return std::nullopt;
  const std::chrono::nanoseconds left =
      std::clamp<std::chrono::nanoseconds>(*next - Clock::now(), 0ns, 60s);
  return timespec{left / 1s, (left % 1s).count()};
}

/// `happened`: what poll() says of the socket to `process`.
void Exchange::send_more(int process, short happened, Due& due) {
  if (happened == 0) return;
  std::unique_lock lock(mutex_);
  Peer& peer = peers_[static_cast<std::size_t>(process)];
  if ((happened & (POLLHUP | POLLERR)) == 0) return peer.out.go_on();
  if (!peer.in.empty()) {
    // What it has said may be on its way still; the end of that tells.
    peer.out = Sender();
  } else if (peer.contact) {
    peer.unreachable = error_of(peer.out.socket());
    lose_unreachable(due);
  } else {
    lose(process, "has ended", due);
  }
}

/// Those that have connected, now or before, as far as they have said who they are.
void Exchange::let_in() {
  std::vector<Stranger> all = std::exchange(strangers_, {});
  const auto accept = [&all](const Descriptor& listening, auto accept_one, Reach reach) {
    while (!listening.empty()) {
      Descriptor socket = accept_one(listening);
      if (socket.empty()) return;
      if (all.size() == most_strangers) continue;
      all.push_back({Receiver(std::move(socket), reach), Clock::now() + patience_with_strangers});
    }
  };
  accept(listening_, accept_from, Reach::host);
  accept(network_.listening, accept_stream, Reach::network);
  for (Stranger& stranger : all) {
    try {
      welcome(std::move(stranger));
    } catch (const Error& error) {
      std::cerr << "jaxmg: a process could not be reached: " << error.what() << std::endl;
    }
  }
}

/// Whether a hello is one, and of a process that belongs here. Over a network its text says so.
bool Exchange::is_of_the_job(Reach reach, const Message& hello, const std::string& text) {
  if (hello.kind != Kind::hello || hello.rank < 0 || hello.rank >= identity_.processes) {
    return false;
  }
  if (reach == Reach::host) return true;
  const std::size_t length = network_.secret.size();
  if (length == 0 || text.size() <= length || !is_equal(text.substr(0, length), network_.secret)) {
    return false;
  }
  const Contact contact = Contact::of(text.substr(length));
  std::unique_lock lock(mutex_);
  peers_[static_cast<std::size_t>(hello.rank)].contact = contact;
  return true;
}

/// Somebody who has connected: a process of the job, once it has said so.
void Exchange::welcome(Stranger stranger) {
  Incoming incoming;
  const Receiver::Found received = stranger.from.receive(incoming);
  if (received == Receiver::Found::nothing) {
    if (Clock::now() < stranger.until) strangers_.push_back(std::move(stranger));
    return;
  }
  const Message& hello = incoming.message;
  const Reach reach = stranger.from.reach();
  if (received == Receiver::Found::end || !is_of_the_job(reach, hello, incoming.text)) return;
  const int process = hello.rank;
  std::unique_lock lock(mutex_);
  Peer& peer = peers_[static_cast<std::size_t>(process)];
  if (peer.lost || !peer.in.empty()) return;
  if (!link_->welcome(process, reach, hello, incoming.passed)) return;
  stranger.from.trust();
  peer.in = std::move(stranger.from);
  if (peer.out.empty()) connect(process);
}

/// All that there is, unless that is much: then true. So what a process has said before it ended
/// counts.
bool Exchange::receive_some(int process) {
  Receiver& from = peers_[static_cast<std::size_t>(process)].in;
  Incoming incoming;
  for (int count = 0; !from.empty(); ++count) {
    if (count == most_messages_at_once) return true;
    const Receiver::Found received = from.receive(incoming);
    if (received == Receiver::Found::nothing) return false;
    if (received == Receiver::Found::message) {
      last_message_ = Clock::now();
      handle(process, incoming);
      continue;
    }
    Due due;
    {
      std::unique_lock lock(mutex_);
      lose(process, "has ended", due);
    }
    settle(due);
  }
  return false;
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
    case Kind::met:
    case Kind::alive:
    case Kind::note: {
      std::shared_ptr<Member> team;
      {
        std::unique_lock lock(mutex_);
        const auto call = calls_.find(message.call);
        if (call != calls_.end()) team = call->second.team;
      }
      if (team) team->receive(incoming);
      return;
    }
    case Kind::request:
    case Kind::chunk:
    case Kind::taken:
    case Kind::station:
    case Kind::served:
    case Kind::consumed:
    case Kind::reached:
    case Kind::connect:
    case Kind::asked:
    case Kind::offered:
    case Kind::granted:
    case Kind::sending:
    case Kind::receiving:
    case Kind::broken:
      link_->handle(process, incoming);
      return;
    case Kind::hello:
      return;
  }
}

}  // namespace jaxmg::processes
