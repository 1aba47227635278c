// What ranks in several processes tell each other, process by process: as each hears of the others.
#include <array>
#include <thread>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "device/cpu/backend.hpp"
#include "team/processes/spread_team.hpp"

namespace jaxmg {
namespace {

using namespace std::chrono_literals;
using processes::CallName;
using processes::Incoming;
using processes::Kind;
using processes::Message;

/// What a process says to others.
struct Listener final : processes::Courier {
  void tell(int process, const Message& message, const std::string& text, int passed) override {
    said.push_back({process, message, text, passed});
  }
  void tell_everybody(const Message&, const std::string&, int) override { ADD_FAILURE(); }
  bool shares_host(int process) override { return process == 1; }

  struct Said {
    int process;
    Message message;
    std::string text;
    int passed;
  };
  std::vector<Said> said;
};

class Team final : public processes::SpreadTeamCall<cpu::Backend> {
 public:
  explicit Team(processes::Courier& courier)
      : SpreadTeamCall(courier, 0, CallName{7, 0, 0}, 4, {false, 20ms}) {
    seat({{0, 0}, {1, 0}, {0, 1}, {2, 0}});
  }
  void read(int, int, Queue&, const ByteColumns<const std::byte>&,
            const ByteColumns<std::byte>&) override {}

  void receive_note(int rank, index_t tag, const std::string& text,
                    processes::Descriptor passed = {}) {
    Message message{Kind::note, rank};
    message.tag = tag;
    Incoming incoming{message, text, std::move(passed)};
    receive(incoming);
  }
  void receive_failure(int rank, const std::string& why) {
    Incoming incoming{{Kind::poison, rank}, why, {}};
    receive(incoming);
  }

 protected:
  Event arrived(const Message&, bool) override { return {}; }
};

class SpreadTeam : public ::testing::Test {
 protected:
  /// What hear() of rank 3 throws when `happens`, after a while.
  template <class Happens>
  std::string failure_when(const Happens& happens) {
    std::thread other([&] {
      std::this_thread::sleep_for(100ms);
      happens();
    });
    std::string why = "nothing";
    try {
      team.hear(3, 5);
    } catch (const TeamError& error) {
      why = error.what();
    }
    other.join();
    return why;
  }

  Listener listener;
  Team team{listener};
};

TEST_F(SpreadTeam, TellsEachOtherProcessOnceAndItsOwnRanks) {
  const auto passed = std::make_shared<const processes::Descriptor>(::fcntl(0, F_DUPFD, 0));
  team.tell(2, 5, {std::string("a\0b", 3), passed});
  EXPECT_EQ(team.hear(2, 5).text, std::string("a\0b", 3));
  EXPECT_EQ(team.hear(2, 5).passed, passed);
  ASSERT_EQ(listener.said.size(), 2u);
  for (int i = 0; i < 2; ++i) {
    const Listener::Said& said = listener.said[static_cast<std::size_t>(i)];
    EXPECT_EQ(said.process, i + 1);
    EXPECT_EQ(said.message.kind, Kind::note);
    EXPECT_EQ(said.message.rank, 2);
    EXPECT_EQ(said.message.tag, 5);
    EXPECT_EQ(said.message.call, (CallName{7, 0, 0}));
    EXPECT_EQ(said.text, std::string("a\0b", 3));
    EXPECT_EQ(said.passed, passed->get());
  }
}

TEST_F(SpreadTeam, KeepsWhatIsPassedUntilItIsSent) {
  std::weak_ptr<const processes::Descriptor> kept;
  {
    const auto passed = std::make_shared<const processes::Descriptor>();
    kept = passed;
    team.tell(0, 1, {"", passed});
  }
  EXPECT_FALSE(kept.expired());
}

TEST_F(SpreadTeam, RefusesNotesThatNoMessageTakes) {
  team.tell(0, 1, {std::string(processes::longest_text, 'x'), nullptr});
  EXPECT_THROW(team.tell(0, 2, {std::string(processes::longest_text + 1, 'x'), nullptr}), Error);
}

TEST_F(SpreadTeam, AHostThatWaitsForItsDeviceIsNotSilent) {
  std::thread other([&] {
    for (int i = 0; i < 20; ++i) {
      std::this_thread::sleep_for(10ms);
      Incoming incoming{{Kind::alive, 3}, {}, {}};
      team.receive(incoming);
    }
    Message message{Kind::post, 3};
    message.tag = 9;
    Incoming incoming{message, {}, {}};
    team.receive(incoming);
  });
  EXPECT_NO_THROW(team.take(0, 3, 9));
  other.join();
  team.give_sign_of_life(0);
  EXPECT_EQ(listener.said.back().message.kind, Kind::alive);
}

TEST_F(SpreadTeam, WhoHearsHasNoClock) {
  EXPECT_THROW(team.take(0, 3, 9), TimeOut);
  std::thread other([&] {
    std::this_thread::sleep_for(100ms);
    team.receive_note(1, 5, "of another rank");
    team.receive_note(3, 4, "of another tag");
    team.receive_note(3, 5, "hello", processes::Descriptor(::fcntl(0, F_DUPFD, 0)));
  });
  const Note heard = team.hear(3, 5);
  EXPECT_EQ(heard.text, "hello");
  EXPECT_FALSE(heard.passed->empty());
  EXPECT_EQ(team.hear(3, 5).passed, heard.passed);
  other.join();
}

TEST_F(SpreadTeam, WhoHearsIsToldOfAFailureOfAnotherProcess) {
  EXPECT_EQ(failure_when([&] { team.receive_failure(1, "no memory"); }),
            "rank 1 of 4 failed: no memory");
  team.receive_note(3, 5, "late");
  EXPECT_THROW(team.hear(3, 5), TeamError) << "even if what they came for is there";
}

TEST_F(SpreadTeam, WhoHearsIsToldOfAFailureOfThisProcess) {
  const auto failed = std::make_exception_ptr(Error("no memory"));
  EXPECT_EQ(failure_when([&] { team.poison(2, failed); }), "rank 2 of 4 failed: no memory");
}

TEST_F(SpreadTeam, WhoHearsIsToldOfTheEndOfAProcess) {
  EXPECT_EQ(failure_when([&] { team.lose(1, "it has ended"); }), "rank 1 of 4 failed: it has ended")
      << "whichever rank they listen to";
}

TEST_F(SpreadTeam, KnowsWhoIsOnThisHost) {
  EXPECT_TRUE(team.shares_host(0));
  EXPECT_TRUE(team.shares_host(1));
  EXPECT_TRUE(team.shares_host(2)) << "in this very process";
  EXPECT_FALSE(team.shares_host(3));
}

}  // namespace
}  // namespace jaxmg
