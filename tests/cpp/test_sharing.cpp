// Memory of GPUs that one process offers and another reaches. That CUDA opens its handles in other
// processes alone, tests of several processes show (tests/python/test_processes.py).
#ifdef JAXMG_WITH_CUDA
#include <algorithm>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "device/cuda/device.hpp"
#include "device/cuda/memory.hpp"
#include "engines/cusolvermg/sharing.hpp"
#include "failures.hpp"
#include "jaxmg/error.hpp"
#include "team/cuda/station.hpp"

namespace jaxmg::cusolvermg {
namespace {

const std::string another = "another process";

template <class Call>
std::string failure(const Call& call) {
  return testing::message_of<DeviceError>(call);
}

void expect_part(const std::string& text, const std::string& part) {
  EXPECT_NE(text.find(part), std::string::npos) << text;
}

TEST(Sharing, WithinAProcessIsPassingTheAddress) {
  double number = 0;
  const Reached reached = reach(offer(3, &number, this_process()));
  EXPECT_EQ(reached.device, 3);
  EXPECT_EQ(reached.memory.get(), &number);
  EXPECT_EQ(this_process(), this_process());
  EXPECT_GE(this_process().size(), 8u);
}

TEST(Sharing, AnotherVersionsOfferIsRefused) { EXPECT_THROW(reach({"x", nullptr}), Error); }

class SharingCuda : public ::testing::Test {
 protected:
  void SetUp() override {
    if (cuda::device_count() == 0) GTEST_SKIP() << "no GPU";
    JAXMG_CUDA(cudaSetDevice(0));
  }
};

TEST_F(SharingCuda, OfCudaMallocIsByHandle) {
  constexpr std::size_t bytes = std::size_t{4} << 20;
  const auto memory = cuda::allocate(0, bytes);
  const Note note = offer(0, static_cast<std::byte*>(memory.get()) + 4096, another);
  const Offer said = Offer::of(note);
  EXPECT_EQ(said.way, Way::handle);
  EXPECT_EQ(said.offset, 4096u);
  EXPECT_GE(said.bytes, bytes);
  EXPECT_EQ(note.passed, nullptr);
  // The process that made it is the only one that cannot open it.
  expect_part(failure([&] { reach(note); }), "cannot be reached (cudaIpcOpenMemHandle");
}

/// As a station is, and JAX 0.12's memory.
TEST_F(SharingCuda, OfMemoryMadeToBeSharedIsByDescriptor) {
  const cuda::Station station(0);
  constexpr std::size_t offset = 1 << 20, count = 1000;
  const Note note = offer(0, station.data() + offset, another);
  Offer said = Offer::of(note);
  EXPECT_EQ(said.way, Way::descriptor);
  EXPECT_EQ(said.offset, offset);
  EXPECT_EQ(said.bytes, cuda::Station::bytes);
  ASSERT_NE(note.passed, nullptr);
  said.device = 77;  // what others call the GPU means nothing here
  for (unsigned char round = 1; round < 4; ++round) {
    const Reached reached = reach({said.text(), note.passed}), again = reach(note);
    EXPECT_EQ(reached.device, 0);
    JAXMG_CUDA(cudaMemset(reached.memory.get(), round, count));
    JAXMG_CUDA(cudaDeviceSynchronize());
    for (const void* from : {static_cast<const void*>(station.data() + offset),
                             static_cast<const void*>(again.memory.get())}) {
      std::vector<unsigned char> found(count);
      JAXMG_CUDA(cudaMemcpy(found.data(), from, count, cudaMemcpyDefault));
      EXPECT_EQ(std::count(found.begin(), found.end(), round), std::ptrdiff_t{count});
    }
  }
  expect_part(failure([&] { reach({said.text(), nullptr}); }), "no descriptor has come");
}

TEST_F(SharingCuda, OfAPoolCannotBe) {
  void* memory = nullptr;
  JAXMG_CUDA(cudaMallocAsync(&memory, 1 << 20, cudaStreamLegacy));
  const std::string why = failure([&] { offer(0, memory, another); });
  EXPECT_EQ(reach(offer(0, memory, this_process())).memory.get(), memory);
  JAXMG_CUDA(cudaFreeAsync(memory, cudaStreamLegacy));
  expect_part(why, "memory of GPU 0 cannot be shared with other processes (");
  expect_part(why, "unset XLA_PYTHON_CLIENT_ALLOCATOR");
}

TEST_F(SharingCuda, OfAGpuThatRank0DoesNotSeeCannotBe) {
  const auto memory = cuda::allocate(0, 1 << 20);
  Offer said = Offer::of(offer(0, memory.get(), another));
  const std::string bus = "00ff:1f:1f.7";
  said.bus.fill('\0');
  std::copy(bus.begin(), bus.end(), said.bus.begin());
  const std::string why = failure([&] { reach({said.text(), nullptr}); });
  expect_part(why, "GPU 00ff:1f:1f.7 of another process is not among those that rank 0's process");
  expect_part(why, "local_device_ids");
}

}  // namespace
}  // namespace jaxmg::cusolvermg
#endif
