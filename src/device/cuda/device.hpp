// One rank's part of a GPU: streams and library handles, leased for a call.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include <cublasLt.h>

#include "device/contract.hpp"
#include "device/cuda/check.hpp"

namespace jaxmg::cuda {

/// Numbers that only grow, which streams can wait for; see team/cuda/board.hpp.
class Words {
 public:
  virtual ~Words() = default;
  /// `stream` waits until word number `word` is at least `value`.
  virtual void make_wait(cudaStream_t stream, int word, std::uint64_t value) const = 0;
};

/// A CUDA event without timing, recorded once and recycled when nobody holds it; or, of another
/// process, that a word has reached a value.
class Event {
 public:
  Event() = default;
  /// Takes an event of the current device.
  static Event record(cudaStream_t stream);
  Event(const Words& words, int word, std::uint64_t value)
      : words_(&words), word_(word), value_(value) {}

  /// `stream`, of any device, waits for it. A default event has already happened.
  void make_wait(cudaStream_t stream) const;
  /// Neither is for another process's event; the second blocks the host.
  bool has_happened() const;
  void synchronize() const;

 private:
  struct Recycled;
  explicit Event(std::shared_ptr<Recycled> handle) : handle_(std::move(handle)) {}
  std::shared_ptr<Recycled> handle_;
  const Words* words_ = nullptr;
  int word_ = 0;
  std::uint64_t value_ = 0;
};

/// A stream with the handles that work on it, so that no workspace is shared between streams.
struct Lane {
  Lane() = default;
  ~Lane();
  Lane(const Lane&) = delete;
  Lane& operator=(const Lane&) = delete;

  cudaStream_t stream = nullptr;
  cublasHandle_t blas = nullptr;
  cusolverDnHandle_t solver = nullptr;
  cusolverDnParams_t params = nullptr;
  void* solver_workspace = nullptr;
  std::size_t solver_bytes = 0;
  std::vector<char> solver_host;
  int* solver_info = nullptr;
  std::optional<cublasLtMatmulAlgo_t> large_product;  ///< see large_product.hpp

  /// At least so much solver workspace. Grows on the first call with a larger tile only.
  void reserve(std::size_t device_bytes, std::size_t host_bytes);
};

/// Lanes of one GPU. Created when first needed, kept for later calls, never destroyed: at exit the
/// driver may be gone before us.
struct Context {
  int ordinal = 0;
  std::vector<std::unique_ptr<Lane>> lanes[2];  // by Priority

  /// Adds lanes until there are so many.
  void fill(Priority priority, std::size_t count);
};

/// The GPU of one rank during one call. What the rank's queues do starts after what `caller`, the
/// stream that the call came on, had been given; follow() makes `caller` wait for them.
class Device {
 public:
  explicit Device(int ordinal, cudaStream_t caller = nullptr);
  ~Device();
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

  /// The next unused lane of this priority, ordered behind the caller's work.
  Lane& take_lane(Priority priority);
  void follow(const Event& event) { event.make_wait(caller_); }

 private:
  void give_back();

  std::unique_ptr<Context> context_;
  cudaStream_t caller_;
  Event entry_;
  std::size_t taken_[2] = {0, 0};
};

/// Lets the GPU `ordinal` read all others, for good. Where it cannot, the driver copies through the
/// host.
void reach_peers(int ordinal);

/// Number of GPUs; 0 where there is no driver.
int device_count();

}  // namespace jaxmg::cuda
