// Words by which GPUs of several processes wait for each other. What needs no GPU, and what needs
// one.
#include <cstring>
#include <set>

#include <gtest/gtest.h>

#ifdef JAXMG_WITH_CUDA
#include "device/cuda/current_device.hpp"
#include "team/cuda/board.hpp"
#include "team/cuda/station.hpp"

namespace jaxmg {
namespace {

using cuda::Board;
using Side = Board::Side;

TEST(Board, HasAWordForEachSlotOfEachPairOfDevices) {
  constexpr int processes = 3;
  std::set<int> words;
  for (int place = 0; place < Board::most_places; ++place) {
    for (int process = 0; process < processes; ++process) {
      for (int theirs = 0; theirs < Board::most_places; ++theirs) {
        for (int slot = 0; slot < Board::slots; ++slot) {
          for (const Side side : {Side::ready, Side::free}) {
            const int word = Board::word_of(side, place, process, theirs, processes, slot);
            ASSERT_GE(word, Board::most_lanes);
            ASSERT_LT(static_cast<std::size_t>(word) * 8, Board::bytes(processes));
            ASSERT_TRUE(words.insert(word).second);
          }
        }
      }
    }
  }
}

/// One process's board as that process and as another one have it.
class BoardCuda : public ::testing::Test {
 protected:
  void SetUp() override {
    if (cuda::device_count() == 0) GTEST_SKIP() << "no GPU";
    JAXMG_CUDA(cudaSetDevice(0));
    JAXMG_CUDA(cudaStreamCreateWithFlags(&writer_, cudaStreamNonBlocking));
    JAXMG_CUDA(cudaStreamCreateWithFlags(&reader_, cudaStreamNonBlocking));
    auto [board, descriptor] = Board::create(2);
    mine_ = board.release();  // never destroyed, as in use
    theirs_ = new Board(descriptor, 2);
  }
  bool reader_waits() {
    JAXMG_CUDA(cudaStreamSynchronize(writer_));
    const bool waits = cudaStreamQuery(reader_) == cudaErrorNotReady;
    cudaGetLastError();
    return waits;
  }

  cudaStream_t writer_ = nullptr, reader_ = nullptr;
  Board *mine_ = nullptr, *theirs_ = nullptr;
};

TEST_F(BoardCuda, AStreamWaitsForItsNumber) {
  theirs_->make_wait(reader_, 5, 3);
  EXPECT_TRUE(reader_waits());
  mine_->write(writer_, 5, 2);
  mine_->write(writer_, 6, 3);
  EXPECT_TRUE(reader_waits());
  mine_->write(writer_, 5, 3);
  JAXMG_CUDA(cudaStreamSynchronize(reader_));
  theirs_->make_wait(reader_, 5, 1);
  JAXMG_CUDA(cudaStreamSynchronize(reader_));
}

TEST_F(BoardCuda, ReleaseLetsAllGoAndIsSeen) {
  std::int32_t* seen = nullptr;
  JAXMG_CUDA(cudaMallocHost(reinterpret_cast<void**>(&seen), sizeof *seen));
  const auto flag = [&] {
    JAXMG_CUDA(
        cudaMemcpyAsync(seen, theirs_->gone_flag(), sizeof *seen, cudaMemcpyDefault, reader_));
    JAXMG_CUDA(cudaStreamSynchronize(reader_));
    return *seen;
  };
  EXPECT_EQ(flag(), 0);
  theirs_->make_wait(reader_, 7, std::uint64_t{1} << 61);
  EXPECT_TRUE(reader_waits());
  theirs_->release();
  EXPECT_NE(flag(), 0);
  JAXMG_CUDA(cudaFreeHost(seen));
}

TEST(StationCuda, IsSeenThroughItsDescriptor) {
  if (cuda::device_count() == 0) GTEST_SKIP() << "no GPU";
  for (int ordinal = 0; ordinal < cuda::device_count(); ++ordinal) {
    const cuda::CurrentDevice current(ordinal);
    const auto* const mine = new cuda::Station(0);  // never destroyed, as in use
    auto* const theirs = new cuda::PeerStation(mine->descriptor().copy());
    const std::byte* const seen = theirs->data_for(ordinal);
    EXPECT_EQ(theirs->data_for(ordinal), seen);
    const double value = 42 + ordinal;
    double found = 0;
    JAXMG_CUDA(cudaMemcpy(mine->data() + 4096, &value, sizeof value, cudaMemcpyDefault));
    JAXMG_CUDA(cudaMemcpy(&found, seen + 4096, sizeof found, cudaMemcpyDefault));
    EXPECT_EQ(found, value);
  }
}

}  // namespace
}  // namespace jaxmg
#endif
