#include <atomic>
#include <stdexcept>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "team/mailbox.hpp"

namespace jaxmg {
namespace {

using namespace std::chrono_literals;

/// Events are only handed on.
using Box = Mailbox<int>;

std::exception_ptr failure(const char* cause) {
  return std::make_exception_ptr(std::runtime_error(cause));
}

/// What take() throws, or "nothing".
std::string failure_of_take(Box& box, int rank, index_t tag) {
  try {
    box.take(rank, tag);
  } catch (const TeamError& error) {
    return error.what();
  }
  return "nothing";
}

TEST(Mailbox, AnEntryIsThereForAllReadersBeforeAndAfter) {
  Box box(4, 60s);
  const double data = 1;
  std::vector<std::thread> readers;
  const auto read = [&] {
    const Box::Entry entry = box.take(2, 7);
    EXPECT_EQ(entry.data, &data);
    EXPECT_EQ(entry.event, 42);
  };
  for (int i = 0; i < 3; ++i) readers.emplace_back(read);
  std::this_thread::sleep_for(5ms);
  box.post(1, 7, nullptr, 1);
  box.post(2, 6, nullptr, 2);
  box.post(2, 7, &data, 42);
  for (int i = 0; i < 3; ++i) readers.emplace_back(read);
  for (std::thread& reader : readers) reader.join();
}

TEST(Mailbox, ASilentTeamTimesOut) {
  Box box(3, 50ms);
  const auto begun = std::chrono::steady_clock::now();
  try {
    box.take(2, 0);
    FAIL() << "nothing was posted";
  } catch (const TimeOut& error) {
    EXPECT_EQ(std::string(error.what()), "nothing came from rank 2 for 50 ms inside a call");
  }
  EXPECT_GE(std::chrono::steady_clock::now() - begun, 50ms);
}

TEST(Mailbox, TheClockStartsAnewWheneverAnybodyPosts) {
  Box box(3, 600ms);
  std::thread busy([&box] {
    for (index_t tag = 0; tag < 8; ++tag) {
      std::this_thread::sleep_for(100ms);
      box.post(1, tag, nullptr, 0);
    }
    box.post(2, 0, nullptr, 5);
  });
  EXPECT_EQ(box.take(2, 0).event, 5);
  busy.join();
}

TEST(Mailbox, WhoHearsHasNoClock) {
  Box box(3, 20ms);
  std::thread busy([&box] {
    std::this_thread::sleep_for(100ms);
    box.post(2, 0, nullptr, 5);
    box.tell(2, 0, {"hello", nullptr});
  });
  EXPECT_EQ(box.hear(2, 0).text, "hello");
  EXPECT_EQ(box.hear(2, 0).text, "hello") << "any number of ranks hear it";
  busy.join();
  std::thread failing([&box] {
    std::this_thread::sleep_for(50ms);
    box.poison(1, failure("lost"));
  });
  EXPECT_THROW(box.hear(2, 1), TeamError);
  failing.join();
  EXPECT_THROW(box.hear(2, 0), TeamError) << "even if what they came for is there";
}

TEST(Mailbox, PoisonGivesAllReadersOneMessage) {
  Box box(8, 60s);
  std::vector<std::thread> readers;
  std::vector<std::string> told(6);
  for (std::string& message : told) {
    readers.emplace_back([&box, &message] { message = failure_of_take(box, 1, 0); });
  }
  std::this_thread::sleep_for(5ms);
  box.poison(5, failure("the disk is full"));
  for (std::thread& reader : readers) reader.join();
  for (const std::string& message : told) {
    EXPECT_EQ(message, "rank 5 of 8 failed: the disk is full");
  }
  EXPECT_EQ(failure_of_take(box, 1, 0), told[0]) << "those who come later too";
  box.post(1, 0, nullptr, 0);
  EXPECT_EQ(failure_of_take(box, 1, 0), told[0]) << "even if what they came for is there";
}

TEST(Mailbox, TheFirstFailureStays) {
  Box box(2, 60s);
  box.poison(1, failure("first"));
  box.poison(0, failure("second"));
  EXPECT_EQ(failure_of_take(box, 0, 0), "rank 1 of 2 failed: first");
}

TEST(Mailbox, MeetTellsAllTheSameAndLetsNobodyGoBefore) {
  for (const bool fails : {false, true}) {
    Box box(4, 60s);
    std::vector<std::exception_ptr> told(4);
    std::vector<std::thread> ranks;
    std::atomic<bool> last_is_here{false};
    for (std::size_t r = 0; r < 3; ++r) {
      ranks.emplace_back([&, r] {
        told[r] = box.meet(static_cast<int>(r));
        EXPECT_TRUE(last_is_here);
      });
    }
    std::this_thread::sleep_for(5ms);
    if (fails) box.poison(3, failure("late"));
    last_is_here = true;
    told[3] = box.meet(3);
    for (std::thread& rank : ranks) rank.join();
    for (const std::exception_ptr& outcome : told) {
      EXPECT_EQ(outcome ? message_of(outcome) : "", fails ? "rank 3 of 4 failed: late" : "");
    }
  }
}

TEST(Mailbox, ARankWithoutThreadMayLeave) {
  Box box(3, 60s);
  for (int meeting = 0; meeting < 2; ++meeting) {  // both of them ahead of the others
    box.leave(0);
    box.leave(2);
  }
  for (int meeting = 0; meeting < 2; ++meeting) EXPECT_EQ(box.meet(1), nullptr);
}

TEST(MessageOf, ToldOrUnknown) {
  EXPECT_EQ(message_of(failure("why")), "why");
  EXPECT_EQ(message_of(std::make_exception_ptr(3)), "unknown error");
}

}  // namespace
}  // namespace jaxmg
