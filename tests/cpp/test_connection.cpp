// Messages over sockets between processes, and who is let in over a network.
#include <array>
#include <cerrno>
#include <chrono>
#include <numeric>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include "jaxmg/error.hpp"
#include "stream_socket.hpp"
#include "team/processes/connection.hpp"
#include "team/processes/exchange.hpp"
#include "team/processes/ring_link.hpp"

namespace jaxmg {
namespace {

using processes::Contact;
using processes::Descriptor;
using processes::Exchange;
using processes::Frame;
using processes::Incoming;
using processes::Kind;
using processes::Message;
using processes::Reach;
using processes::Receiver;
using processes::Sender;
using Found = Receiver::Found;
using testing::ListeningStream;
using namespace std::chrono_literals;

Message numbered(std::uint64_t number) {
  Message message{Kind::chunk};
  message.value = number;
  return message;
}

std::string text_of(std::size_t length) {
  std::string text(length, '\0');
  std::iota(text.begin(), text.end(), '\0');
  return text;
}

/// Two ends of a stream. What the first end has to say, unless it uses Sender.
struct Pair {
  Pair() {
    std::array<int, 2> both{};
    if (::socketpair(AF_UNIX, SOCK_STREAM, 0, both.data()) != 0) throw Error("socketpair");
    near = Descriptor(both[0]);
    far = Descriptor(both[1]);
  }
  void say(const std::string& bytes) const {
    ASSERT_EQ(::send(near.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(bytes.size()));
  }
  Descriptor near, far;
};

std::string framed(const Message& message, const std::string& text, Frame frame = {}) {
  frame.bytes = static_cast<std::uint32_t>(text.size());
  return std::string(reinterpret_cast<const char*>(&frame), sizeof frame) +
         std::string(reinterpret_cast<const char*>(&message), sizeof message) + text;
}

TEST(Connection, AMessageMayComeByteByByte) {
  Pair pair;
  Receiver receiver(std::move(pair.far), Reach::network);
  Incoming incoming;
  for (const std::size_t length : {0, 1, 100}) {
    const std::string all = framed(numbered(length), text_of(length));
    for (const char byte : all.substr(0, all.size() - 1)) {
      pair.say({byte});
      ASSERT_EQ(receiver.receive(incoming), Found::nothing);
    }
    pair.say(all.substr(all.size() - 1));
    ASSERT_EQ(receiver.receive(incoming), Found::message);
    EXPECT_EQ(incoming.message.value, length);
    EXPECT_EQ(incoming.text, text_of(length));
  }
  EXPECT_EQ(receiver.receive(incoming), Found::nothing);
}

TEST(Connection, SeveralMessagesMayComeAtOnce) {
  Pair pair;
  Receiver receiver(std::move(pair.far), Reach::network);
  pair.say(framed(numbered(1), "one") + framed(numbered(2), "") + framed(numbered(3), "three"));
  for (const auto& [number, text] :
       {std::pair(1, "one"), std::pair(2, ""), std::pair(3, "three")}) {
    Incoming incoming;
    ASSERT_EQ(receiver.receive(incoming), Found::message);
    EXPECT_EQ(incoming.message.value, static_cast<std::uint64_t>(number));
    EXPECT_EQ(incoming.text, text);
  }
}

TEST(Connection, WhatIsNoMessageIsTheEnd) {
  Frame other_version;
  other_version.format ^= 1;
  for (const std::string& said :
       {framed(numbered(1), "text", other_version),
        std::string("GET / HTTP/1.1\r\n") + std::string(sizeof(Message), ' '),
        framed(numbered(1), text_of(processes::longest_text + 1))}) {
    Pair pair;
    Receiver receiver(std::move(pair.far), Reach::network);
    pair.say(said);
    Incoming incoming;
    EXPECT_EQ(receiver.receive(incoming), Found::end);
  }
}

TEST(Connection, OnlyThoseWhoAreTrustedSayMuch) {
  for (const std::size_t length : {processes::longest_data, processes::longest_data + 1}) {
    Pair pair;
    Receiver receiver(std::move(pair.far), Reach::network);
    receiver.trust();
    Frame frame;
    frame.bytes = static_cast<std::uint32_t>(length);
    pair.say(framed(numbered(1), "", frame)
                 .replace(0, sizeof frame, reinterpret_cast<const char*>(&frame), sizeof frame));
    Incoming incoming;
    EXPECT_EQ(receiver.receive(incoming),
              length == processes::longest_data ? Found::nothing : Found::end);
  }
}

TEST(Connection, AnEndInTheMiddleOfAMessageIsTheEnd) {
  Pair pair;
  Receiver receiver(std::move(pair.far), Reach::network);
  pair.say(framed(numbered(1), "complete") + framed(numbered(2), "not so").substr(0, 30));
  pair.near.reset();
  Incoming incoming;
  ASSERT_EQ(receiver.receive(incoming), Found::message);
  EXPECT_EQ(incoming.text, "complete");
  EXPECT_EQ(receiver.receive(incoming), Found::end);
}

/// Sends more than a socket takes, from `sender` to `receiver`, which looks from time to time.
void send_much(Sender& sender, Receiver& receiver, std::size_t longest) {
  receiver.trust();
  constexpr std::uint64_t count = 60;
  const auto length_of = [longest](std::uint64_t k) {
    return static_cast<std::size_t>(k * 7919) % (longest + 1);
  };
  for (std::uint64_t k = 0; k < count; ++k) sender.send(numbered(k), text_of(length_of(k)));
  ASSERT_TRUE(sender.has_more());
  Incoming incoming;
  for (std::uint64_t k = 0; k < count;) {
    sender.go_on();
    const Found found = receiver.receive(incoming);
    ASSERT_NE(found, Found::end);
    if (found == Found::nothing) continue;
    ASSERT_EQ(incoming.message.value, k);
    ASSERT_EQ(incoming.text, text_of(length_of(k)));
    ++k;
  }
  EXPECT_FALSE(sender.has_more());
}

TEST(Connection, WhatAStreamDoesNotTakeAtOnceIsSentLater) {
  const ListeningStream listening;
  Sender sender(processes::connect_to(listening.contact()), Reach::network);
  // Even before anybody has accepted.
  sender.send(numbered(7), "first");
  Descriptor accepted;
  while (accepted.empty()) accepted = processes::accept_stream(listening.descriptor());
  Receiver receiver(std::move(accepted), Reach::network);
  Incoming incoming;
  for (Found found = Found::nothing; found != Found::message; found = receiver.receive(incoming)) {
    ASSERT_NE(found, Found::end);
    sender.go_on();
  }
  EXPECT_EQ(incoming.text, "first");
  const int small = 4096;
  ::setsockopt(sender.socket().get(), SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
  send_much(sender, receiver, processes::longest_data);
}

TEST(Connection, WhatALocalSocketDoesNotTakeAtOnceIsSentLater) {
  std::array<int, 2> both{};
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET, 0, both.data()), 0);
  Sender sender(Descriptor(both[0]), Reach::host);
  Receiver receiver(Descriptor(both[1]), Reach::host);
  const int small = 4096;
  ::setsockopt(both[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
  send_much(sender, receiver, processes::longest_text);
}

TEST(Connection, ContactsAreReadAsTheyAreWritten) {
  for (const char* const text : {"127.0.0.1 1", "10.1.2.3 65535", "2001:db8::1 4567"}) {
    EXPECT_EQ(Contact::of(text).text(), text);
  }
  for (const char* const text :
       {"", "127.0.0.1", "127.0.0.1 0", "127.0.0.1 65536", "a 1 b", "1 a"}) {
    EXPECT_THROW(Contact::of(text), Error) << text;
  }
  EXPECT_THROW(processes::connect_to(Contact{"no.number.of.a.host", 80}), Error);
}

// ---- Who is let in ------------------------------------------------------------------------------

constexpr const char* secret = "correct horse battery staple";

/// An exchange that waits for processes 1 and 2 over a network.
class LettingIn : public ::testing::Test {
 protected:
  LettingIn() {
    static int number = 0;
    ListeningStream listening;
    contact_ = listening.contact();
    processes::Network network{listening.release(), contact_, secret, {}};
    const std::string job = "let-in-" + std::to_string(::getpid()) + "-" + std::to_string(++number);
    // Never destroyed, as in use.
    new Exchange({job, 0, 3}, processes::RingLink::make, std::move(network));
  }

  static Message hello() {
    Message message{Kind::hello, 1};
    message.length = static_cast<index_t>(processes::RingLink::ring_bytes);
    return message;
  }

  /// Whether the exchange connects back to who says this.
  bool is_let_in(const Message& message, const std::string& says, bool says_contact = true) const {
    const ListeningStream here;
    Sender sender(processes::connect_to(contact_), Reach::network);
    sender.send(message, says + (says_contact ? " " + here.contact().text() : ""));
    const auto limit = std::chrono::steady_clock::now() + 5s;
    char byte = 0;
    while (std::chrono::steady_clock::now() < limit) {
      sender.go_on();
      if (!processes::accept_stream(here.descriptor()).empty()) return true;
      const ssize_t heard = ::recv(sender.socket().get(), &byte, 1, MSG_DONTWAIT);
      if (heard == 0 || (heard < 0 && errno == ECONNRESET)) return false;  // shown the door
      std::this_thread::yield();
    }
    ADD_FAILURE() << "neither let in nor refused";
    return false;
  }

  Contact contact_;
};

TEST_F(LettingIn, WhoKnowsTheSecret) { EXPECT_TRUE(is_let_in(hello(), secret)); }

TEST_F(LettingIn, NobodyElse) {
  const std::string wrong = std::string(secret).replace(0, 1, "C");
  EXPECT_FALSE(is_let_in(hello(), wrong));
  EXPECT_FALSE(is_let_in(hello(), ""));
  EXPECT_FALSE(is_let_in(hello(), std::string(secret) + "r"));
  EXPECT_FALSE(is_let_in(hello(), secret, false));
  EXPECT_FALSE(is_let_in(hello(), text_of(processes::longest_text)));
  EXPECT_FALSE(is_let_in(Message{Kind::request, 1}, secret));
  for (const int rank : {-1, 3}) {
    Message message = hello();
    message.rank = rank;
    EXPECT_FALSE(is_let_in(message, secret)) << rank;
  }
  EXPECT_TRUE(is_let_in(hello(), secret));
}

TEST_F(LettingIn, WhoSaysNothingKeepsNobodyOut) {
  std::vector<Descriptor> silent;
  for (int i = 0; i < 50; ++i) silent.push_back(processes::connect_to(contact_));
  EXPECT_TRUE(is_let_in(hello(), secret));
}

}  // namespace
}  // namespace jaxmg
