#include "cuda/seat.hpp"

#include <atomic>
#include <map>
#include <mutex>
#include <new>
#include <set>
#include <stdexcept>
#include <string>
#include <tuple>

#include "device/cuda/check.hpp"
#include "device/cuda/kernels.hpp"
#include "job.hpp"

namespace jaxmg::ffi {
namespace {

/// Address, attributes and device of a call site.
using Place = std::tuple<std::uintptr_t, std::string, int>;

struct Seats {
  std::mutex mutex;
  std::map<Place, Seat> known;
  std::set<std::string> made;  ///< attributes of calls in executables that XLA has told of

  /// So many programs may come and go untold.
  static constexpr std::size_t most = 4096;
};

/// Never destroyed: launch threads may outlive main().
Seats& seats() {
  static Seats* const all = new Seats;
  return *all;
}

/// A word of the host's memory that GPUs set when a seat was wrong.
std::int32_t* mistake() {
  static std::int32_t* const word = [] {
    void* memory = nullptr;
    JAXMG_CUDA(cudaHostAlloc(&memory, sizeof(std::int32_t), cudaHostAllocPortable));
    return new (memory) std::int32_t(0);
  }();
  return word;
}

/// With the lock.
void forget_after_mistake() {
  if (std::atomic_ref(*mistake()).exchange(0) != 0) seats().known.clear();
}

cuda::Regions regions_of(const std::vector<xf::AnyBuffer>& outputs) {
  cuda::Regions regions;
  if (outputs.size() >= cuda::Regions::most) throw std::logic_error("a call has too many results");
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    const auto bytes = static_cast<index_t>(outputs[i].size_bytes());
    regions.of[i] = {static_cast<std::int32_t*>(outputs[i].untyped_data()), bytes / 4};
  }
  return regions;
}

}  // namespace

Seat seat_of(const CallAttributes& attributes, int device, const xf::AnyBuffer& rank,
             const xf::AnyBuffer& group, cudaStream_t stream) {
  const Place place(attributes.instance(), attributes.contents(), device);
  {
    std::unique_lock lock(seats().mutex);
    forget_after_mistake();
    if (const auto seat = seats().known.find(place); seat != seats().known.end()) {
      return seat->second;
    }
  }
  Seat seat{};
  const auto read = [stream](std::int32_t& value, const xf::AnyBuffer& from, std::ptrdiff_t at) {
    JAXMG_CUDA(cudaMemcpyAsync(&value, static_cast<const std::int32_t*>(from.untyped_data()) + at,
                               sizeof value, cudaMemcpyDefault, stream));
  };
  read(seat.rank, rank, 0);
  read(seat.group, group, 0);
  seat.spread = group.element_count() == 2;
  if (seat.spread) read(seat.team, group, 1);
  JAXMG_CUDA(cudaStreamSynchronize(stream));
  std::unique_lock lock(seats().mutex);
  if (attributes.integer("devices") == 0 && seats().made.count(attributes.contents()) == 0) {
    return seat;
  }
  if (seats().known.size() >= Seats::most) seats().known.clear();
  seats().known[place] = seat;
  return seat;
}

void spoil_unless_seated(cudaStream_t stream, const Seat& seat, const xf::AnyBuffer& rank,
                         const xf::AnyBuffer& group, const std::vector<xf::AnyBuffer>& outputs) {
  const cuda::Pair found{static_cast<const std::int32_t*>(rank.untyped_data()),
                         static_cast<const std::int32_t*>(group.untyped_data())};
  cuda::Regions regions = regions_of(outputs);
  regions.of[outputs.size()] = {mistake(), 1};
  cuda::launch_spoil_unless_equal(stream, found, seat.rank, seat.group, regions);
}

void spoil_if_any(cudaStream_t stream, const std::vector<const std::int32_t*>& flags,
                  const std::vector<xf::AnyBuffer>& outputs) {
  for (const std::int32_t* flag : flags) {
    cuda::launch_spoil_unless_equal(stream, {flag, flag}, 0, 0, regions_of(outputs));
  }
}

void swap_seats(bool groups) {
  std::unique_lock lock(seats().mutex);
  for (auto& [site, seat] : seats().known) (groups ? seat.group : seat.rank) ^= 1;
}

namespace {

xf::Error instantiate(xf::RemainingArgs, xf::RemainingRets, CallAttributes attributes) {
  {
    std::unique_lock lock(seats().mutex);
    seats().known.clear();
    seats().made.insert(attributes.contents());
  }
  learn_job();
  return xf::Error::Success();
}

}  // namespace

/// Every handler's first stage.
XLA_FFI_DEFINE_HANDLER_SYMBOL(
    jaxmg_instantiate_cuda, instantiate,
    xf::Ffi::BindInstantiate().RemainingArgs().RemainingRets().Attrs<CallAttributes>());

}  // namespace jaxmg::ffi
