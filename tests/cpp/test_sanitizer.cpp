// That the sanitizers see what they are there for. In builds without them there is nothing to see.
#include <cstdlib>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "device/cpu/backend.hpp"
#include "device/cpu/sanitizer.hpp"
#include "team/jobs.hpp"

namespace jaxmg {
namespace {

using Backend = cpu::Backend;
using CpuRank = Rank<Backend>;

#if defined(JAXMG_SANITIZE_THREAD)
constexpr bool thread_sanitizer = true;
#else
constexpr bool thread_sanitizer = false;
#endif
#if defined(JAXMG_SANITIZE_ADDRESS)
constexpr bool address_sanitizer = true;
#else
constexpr bool address_sanitizer = false;
#endif

/// What ThreadSanitizer makes a program that it has reported something about end with.
constexpr int reported = 66;

enum class Consumer { waits, does_not_wait };

/// What is done to the panel that another rank is writing.
using Read = void (*)(cpu::Queue& queue, MatrixView<const double> panel, MatrixView<double> result);

void read_by_copy(cpu::Queue& queue, MatrixView<const double> panel, MatrixView<double> result) {
  Backend::copy<double>(queue, panel, result);
}
void read_by_gemm(cpu::Queue& queue, MatrixView<const double> panel, MatrixView<double> result) {
  Backend::gemm<double>(queue, Op::none, Op::conj_trans, 1, panel, panel, 0, result);
}

/// A step of a factorisation in small: the owner writes a panel, the other rank's bulk reads it.
void hand_over_panel(Consumer consumer, Read read) {
  constexpr index_t n = 16;
  std::vector<double> panel(n * n, 1), result(n * n), lower(n * n, 1);
  const auto view = [](std::vector<double>& of) { return MatrixView<double>(of.data(), n, n, n); };
  const auto program = [&](CpuRank& rank) {
    if (rank.index() == 0) {
      Backend::trsm<double>(rank.panel(), Side::right, Op::conj_trans, view(lower), view(panel));
    }
    const auto received = rank.broadcast<double>(0, rank.panel(), view(panel), {});
    if (rank.index() == 1) {
      if (consumer == Consumer::waits) rank.bulk().wait(received.ready);
      read(rank.bulk(), received.view, view(result));
    }
    // The owner stays until the read is enqueued: its end would order the two, by chance.
    rank.barrier(rank.copies());
  };
  run_team(2, program, {});
}

class ThreadSanitizerDeathTest : public ::testing::TestWithParam<Read> {
 protected:
  void SetUp() override {
    if (!thread_sanitizer) GTEST_SKIP() << "not a thread-sanitizer build";
    // Not by a bare fork: the child starts anew.
    GTEST_FLAG_SET(death_test_style, "threadsafe");
  }
};

INSTANTIATE_TEST_SUITE_P(Reads, ThreadSanitizerDeathTest,
                         ::testing::Values(&read_by_copy, &read_by_gemm));

TEST_P(ThreadSanitizerDeathTest, ReportsAMissingWait) {
  const auto hand_over = [] {
    hand_over_panel(Consumer::does_not_wait, GetParam());
    std::exit(0);
  };
  EXPECT_EXIT(hand_over(), ::testing::ExitedWithCode(reported), "data race");
}

TEST_P(ThreadSanitizerDeathTest, IsSilentWithTheWait) {
  const auto hand_over = [] {
    for (int i = 0; i < 20; ++i) hand_over_panel(Consumer::waits, GetParam());
    std::exit(0);
  };
  EXPECT_EXIT(hand_over(), ::testing::ExitedWithCode(0), "");
}

TEST_P(ThreadSanitizerDeathTest, QueuesOfOneRankAreToldApartOnOneWorker) {
  // Two tasks that one worker runs one after the other are not ordered by that.
  const auto use_two_queues = [] {
    cpu::set_permits(1);
    std::vector<double> panel(4, 1), result(4);
    cpu::Queue writer(Priority::high), reader(Priority::normal);
    Backend::fill<double>(writer, 2, {panel.data(), 2, 2, 2});
    GetParam()(reader, {panel.data(), 2, 2, 2}, {result.data(), 2, 2, 2});
    writer.synchronize();
    reader.synchronize();
    std::exit(0);
  };
  EXPECT_EXIT(use_two_queues(), ::testing::ExitedWithCode(reported), "data race");
}

class AddressSanitizer : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!address_sanitizer) GTEST_SKIP() << "not an address-sanitizer build";
    cpu::set_permits(1);
  }

  /// The error of one operation, "" if there is none.
  template <class Enqueue>
  std::string error_of(Enqueue enqueue) {
    enqueue(queue_);
    try {
      queue_.synchronize();
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  }

  /// n x n within `storage`; `shift` elements too far right.
  MatrixView<double> view(std::vector<double>& storage, index_t shift) {
    return {storage.data() + shift, n, n, n};
  }

  static constexpr index_t n = 8;
  static constexpr const char* reads = "a tile operation reads outside its buffer";
  static constexpr const char* writes = "a tile operation writes outside its buffer";
  std::vector<double> a_ = std::vector<double>(n * n, 1);
  std::vector<double> b_ = std::vector<double>(n * n, 1);
  std::int32_t info_ = 0;
  cpu::Queue queue_{Priority::normal};
};

TEST_F(AddressSanitizer, OperationsCheckTheirViews) {
  for (const index_t shift : {0, 1}) {
    const auto gemm_reads = [&](cpu::Queue& queue) {
      Backend::gemm<double>(queue, Op::none, Op::none, 1, view(a_, shift), view(b_, 0), 0,
                            view(b_, 0));
    };
    const auto gemm_writes = [&](cpu::Queue& queue) {
      Backend::gemm<double>(queue, Op::none, Op::none, 1, view(a_, 0), view(a_, 0), 0,
                            view(b_, shift));
    };
    const auto trapezoid_reads = [&](cpu::Queue& queue) {
      Backend::trapezoid_update<double>(queue, view(a_, shift), view(b_, 0));
    };
    const auto trsm_reads = [&](cpu::Queue& queue) {
      Backend::trsm<double>(queue, Side::left, Op::none, view(a_, shift), view(b_, 0));
    };
    const auto potrf_writes = [&](cpu::Queue& queue) {
      Backend::potrf<double>(queue, view(b_, shift), 0, &info_);
    };
    const auto copy_reads = [&](cpu::Queue& queue) {
      Backend::copy<double>(queue, view(a_, shift), view(b_, 0));
    };
    const auto fill_writes = [&](cpu::Queue& queue) {
      Backend::fill<double>(queue, 1, view(b_, shift));
    };
    const bool strays = shift > 0;
    EXPECT_EQ(error_of(gemm_reads), strays ? reads : "");
    EXPECT_EQ(error_of(gemm_writes), strays ? writes : "");
    EXPECT_EQ(error_of(trapezoid_reads), strays ? reads : "");
    EXPECT_EQ(error_of(trsm_reads), strays ? reads : "");
    EXPECT_EQ(error_of(potrf_writes), strays ? writes : "");
    EXPECT_EQ(error_of(copy_reads), strays ? reads : "");
    EXPECT_EQ(error_of(fill_writes), strays ? writes : "");
  }
}

}  // namespace
}  // namespace jaxmg
