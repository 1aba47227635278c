#include "team/cuda/nccl_end.hpp"

#include <cstring>
#include <system_error>
#include <thread>
#include <utility>

#include "device/cuda/current_device.hpp"
#include "jaxmg/error.hpp"
#include "team/cuda/copy_columns.hpp"

namespace jaxmg::cuda {
namespace {

/// It waits for threads and for the GPU, which the caller must not: without a thread for it, the
/// communicator stays.
void abort_elsewhere(nccl::Communicator communicator) {
  if (communicator == nullptr) return;
  try {
    std::thread([communicator] { nccl::library().CommAbort(communicator); }).detach();
  } catch (const std::system_error&) {
  }
}

}  // namespace

std::string NcclEnd::new_name() {
  nccl::UniqueId name{};
  JAXMG_NCCL(GetUniqueId, &name);
  return {name.bytes, sizeof name.bytes};
}

std::shared_ptr<PassageEnd> NcclEnd::make(int ordinal, Role role, const std::string& name) {
  nccl::UniqueId id{};
  if (name.size() != sizeof id.bytes) throw Error("no name of NCCL's");
  std::memcpy(id.bytes, name.data(), sizeof id.bytes);
  auto made = std::make_shared<NcclEnd>(ordinal, role);
  std::thread([made, id] { made->connect(id); }).detach();
  return made;
}

void NcclEnd::connect(const nccl::UniqueId& name) {
  try {
    JAXMG_CUDA(cudaSetDevice(ordinal_));
    int least = 0, greatest = 0;
    JAXMG_CUDA(cudaDeviceGetStreamPriorityRange(&least, &greatest));
    JAXMG_CUDA(cudaStreamCreateWithPriority(&stream_, cudaStreamNonBlocking, greatest));
    void* memory = nullptr;
    JAXMG_CUDA(cudaMalloc(&memory, static_cast<std::size_t>(piece_bytes)));
    buffer_ = static_cast<std::byte*>(memory);
    nccl::Communicator made = nullptr;
    JAXMG_NCCL(CommInitRank, &made, 2, name, static_cast<int>(role_));
    {
      std::unique_lock lock(mutex_);
      if (state_ == State::failed) return abort_elsewhere(made);
      communicator_ = made;
    }
    transfer(static_cast<std::size_t>(piece_bytes));  // what any later one may need is there then
    JAXMG_CUDA(cudaStreamSynchronize(stream_));
    std::unique_lock lock(mutex_);
    if (state_ == State::connecting) state_ = State::ready;
  } catch (const std::exception& error) {
    std::unique_lock lock(mutex_);
    if (state_ != State::failed) failure_ = error.what();
    state_ = State::failed;
  }
}

PassageEnd::State NcclEnd::state() {
  std::unique_lock lock(mutex_);
  return state_;
}

std::string NcclEnd::failure() {
  std::unique_lock lock(mutex_);
  return failure_;
}

void NcclEnd::check() {
  std::unique_lock lock(mutex_);
  if (state_ == State::failed) throw DeviceError(failure_);
  if (communicator_ == nullptr) return;
  nccl::Result found = nccl::Result::success;
  JAXMG_NCCL(CommGetAsyncError, communicator_, &found);
  if (found != nccl::Result::in_progress) nccl::check(found, "a transfer by NCCL");
}

void NcclEnd::abort() {
  std::unique_lock lock(mutex_);
  if (state_ != State::failed) failure_ = "NCCL's communicator was aborted";
  state_ = State::failed;
  abort_elsewhere(std::exchange(communicator_, nullptr));
}

void NcclEnd::wait_for(const Words& words, int word, std::uint64_t value) {
  const CurrentDevice current(ordinal_);
  words.make_wait(stream_, word, value);
}

void NcclEnd::follow(cudaStream_t queue) { Event::record(queue).make_wait(stream_); }

void NcclEnd::lead(cudaStream_t queue) { Event::record(stream_).make_wait(queue); }

nccl::Communicator NcclEnd::communicator() {
  std::unique_lock lock(mutex_);
  if (communicator_ == nullptr) throw DeviceError(failure_);
  return communicator_;
}

/// Between the buffers of both ends.
void NcclEnd::transfer(std::size_t bytes) {
  constexpr auto type = nccl::DataType::bytes;
  if (role_ == Role::sender) {
    JAXMG_NCCL(Send, buffer_, bytes, type, static_cast<int>(Role::receiver), communicator(),
               stream_);
  } else {
    JAXMG_NCCL(Recv, buffer_, bytes, type, static_cast<int>(Role::sender), communicator(), stream_);
  }
}

void NcclEnd::send(const std::byte* columns, index_t stride, const ReadPiece& piece) {
  const CurrentDevice current(ordinal_);
  copy_columns(stream_, buffer_, piece.height, columns + piece.column * stride + piece.row, stride,
               piece);
  transfer(static_cast<std::size_t>(piece.height * piece.columns));
}

void NcclEnd::receive(std::byte* columns, index_t stride, const ReadPiece& piece) {
  const CurrentDevice current(ordinal_);
  transfer(static_cast<std::size_t>(piece.height * piece.columns));
  copy_columns(stream_, columns + piece.column * stride + piece.row, stride, buffer_, piece.height,
               piece);
}

}  // namespace jaxmg::cuda
