#include "cuda/seat.hpp"

#include <map>
#include <mutex>
#include <utility>

#include "device/cuda/check.hpp"

namespace jaxmg::ffi {
namespace {

struct Seats {
  std::mutex mutex;
  std::map<std::pair<std::uintptr_t, int>, Seat> known;
};

/// Never destroyed: launch threads may outlive main().
Seats& seats() {
  static Seats* const all = new Seats;
  return *all;
}

}  // namespace

Seat seat_of(std::uintptr_t instance, int device, const void* rank, const void* group,
             cudaStream_t stream) {
  const std::pair key(instance, device);
  {
    std::unique_lock lock(seats().mutex);
    if (const auto seat = seats().known.find(key); seat != seats().known.end()) {
      return seat->second;
    }
  }
  Seat seat{};
  JAXMG_CUDA(cudaMemcpyAsync(&seat.rank, rank, sizeof seat.rank, cudaMemcpyDefault, stream));
  JAXMG_CUDA(cudaMemcpyAsync(&seat.group, group, sizeof seat.group, cudaMemcpyDefault, stream));
  JAXMG_CUDA(cudaStreamSynchronize(stream));
  std::unique_lock lock(seats().mutex);
  seats().known[key] = seat;
  return seat;
}

void forget_seats() {
  std::unique_lock lock(seats().mutex);
  seats().known.clear();
}

}  // namespace jaxmg::ffi
