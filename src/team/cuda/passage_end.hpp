// One end of a way by which data goes from one GPU to another one that shares no memory with it.
#pragma once

#include <cstdint>
#include <string>

#include <cuda_runtime_api.h>

#include "device/cuda/device.hpp"
#include "team/read_pieces.hpp"

namespace jaxmg::cuda {

/// It has a stream of its own, and enqueues there. See passages.hpp for who may do so, and when.
class PassageEnd {
 public:
  enum class Role { sender = 0, receiver = 1 };
  enum class State { connecting, ready, failed };
  /// The most that is sent at once, and the size of an end's buffer.
  static constexpr index_t piece_bytes = index_t{8} << 20;

  virtual ~PassageEnd() = default;

  virtual State state() = 0;
  /// Why it has failed.
  virtual std::string failure() = 0;
  /// Throws DeviceError if what has been enqueued will not get to its end.
  virtual void check() = 0;
  /// What has been enqueued gets to its end, with whatever data. Nothing may be enqueued any more.
  virtual void abort() = 0;

  // All of these only enqueue.

  /// The stream waits for a word.
  virtual void wait_for(const Words& words, int word, std::uint64_t value) = 0;
  /// The stream waits for all that `queue` has been given.
  virtual void follow(cudaStream_t queue) = 0;
  /// `queue` waits for all that the stream has been given.
  virtual void lead(cudaStream_t queue) = 0;
  /// Sends a piece of columns, `stride` apart.
  virtual void send(const std::byte* columns, index_t stride, const ReadPiece& piece) = 0;
  virtual void receive(std::byte* columns, index_t stride, const ReadPiece& piece) = 0;
};

}  // namespace jaxmg::cuda
