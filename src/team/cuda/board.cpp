#include "team/cuda/board.hpp"

#include <string>

#include "device/cuda/driver.hpp"
#include "jaxmg/error.hpp"

namespace jaxmg::cuda {
namespace {

constexpr std::size_t page = 4096;

/// At least any value that is waited for. Streams compare by the sign of a difference.
constexpr std::uint64_t all_values = std::uint64_t{1} << 62;

std::size_t words_for(int processes) {
  return Board::most_lanes + std::size_t{2} * Board::most_places *
                                 static_cast<std::size_t>(processes) * Board::most_places *
                                 Board::slots;
}

}  // namespace

std::size_t Board::bytes(int processes) {
  const std::size_t needed = words_for(processes) * sizeof(std::uint64_t);
  return (needed + page - 1) / page * page;
}

std::pair<std::unique_ptr<Board>, processes::Descriptor> Board::create(int processes) {
  auto [memory, descriptor] = processes::SharedMemory::create(bytes(processes));
  return {std::unique_ptr<Board>(new Board(std::move(memory), processes)), std::move(descriptor)};
}

Board::Board(processes::SharedMemory memory, int processes)
    : memory_(std::move(memory)), words_(words_for(processes)) {}

Board::Board(const processes::Descriptor& descriptor, int processes)
    : Board(processes::SharedMemory(descriptor, bytes(processes)), processes) {}

int Board::word_of(Side side, int place, int process, int their_place, int processes, int slot) {
  const int pair = (place * processes + process) * most_places + their_place;
  return most_lanes + (pair * slots + slot) * 2 + (side == Side::ready ? 0 : 1);
}

/// The memory is made known to CUDA when a stream first needs it, by a thread that may wait.
std::uint64_t Board::address(int word) const {
  if (!has(word)) throw Error("there is no word " + std::to_string(word) + " to wait for");
  std::call_once(registered_, [this] {
    const std::size_t size = (words_ * sizeof(std::uint64_t) + page - 1) / page * page;
    JAXMG_CUDA(
        cudaHostRegister(memory_.data(), size, cudaHostRegisterPortable | cudaHostRegisterMapped));
    void* seen = nullptr;
    JAXMG_CUDA(cudaHostGetDevicePointer(&seen, memory_.data(), 0));
    base_ = reinterpret_cast<std::uintptr_t>(seen);
  });
  return base_ + static_cast<std::uint64_t>(word) * sizeof(std::uint64_t);
}

void Board::make_wait(cudaStream_t stream, int word, std::uint64_t value) const {
  JAXMG_CUDA(driver().cuStreamWaitValue64(stream, address(word), value, CU_STREAM_WAIT_VALUE_GEQ));
}

void Board::write(cudaStream_t stream, int word, std::uint64_t value) const {
  JAXMG_CUDA(
      driver().cuStreamWriteValue64(stream, address(word), value, CU_STREAM_WRITE_VALUE_DEFAULT));
}

const std::int32_t* Board::gone_flag() const {
  return reinterpret_cast<const std::int32_t*>(address(gone)) + 1;  // all_values is above 2^32
}

std::atomic_ref<std::uint64_t> Board::at(int word) const {
  if (!has(word)) throw Error("there is no word " + std::to_string(word));
  return std::atomic_ref<std::uint64_t>(reinterpret_cast<std::uint64_t*>(memory_.data())[word]);
}

std::uint64_t Board::value(int word) const { return at(word).load(std::memory_order_acquire); }

/// Words only grow.
void Board::set(int word, std::uint64_t value) const {
  const auto set = at(word);
  if (set.load(std::memory_order_relaxed) < value) set.store(value, std::memory_order_release);
}

/// Word `gone` first: whoever is let go on finds it set.
void Board::release() const {
  for (int word = 0; has(word); ++word) at(word).store(all_values, std::memory_order_release);
}

}  // namespace jaxmg::cuda
