#include "cuda/seat.hpp"

#include <map>
#include <mutex>
#include <stdexcept>
#include <utility>

#include "device/cuda/check.hpp"
#include "device/cuda/kernels.hpp"
#include "job.hpp"

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

cuda::Regions regions_of(const std::vector<xf::AnyBuffer>& outputs) {
  cuda::Regions regions;
  if (outputs.size() > cuda::Regions::most) throw std::logic_error("a call has too many results");
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    const auto bytes = static_cast<index_t>(outputs[i].size_bytes());
    regions.of[i] = {static_cast<std::int32_t*>(outputs[i].untyped_data()), bytes / 4};
  }
  return regions;
}

}  // namespace

Seat seat_of(std::uintptr_t instance, int device, const xf::AnyBuffer& rank,
             const xf::AnyBuffer& group, cudaStream_t stream) {
  const std::pair key(instance, device);
  {
    std::unique_lock lock(seats().mutex);
    if (const auto seat = seats().known.find(key); seat != seats().known.end()) {
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
  seats().known[key] = seat;
  return seat;
}

void spoil_unless_seated(cudaStream_t stream, const Seat& seat, const xf::AnyBuffer& rank,
                         const xf::AnyBuffer& group, const std::vector<xf::AnyBuffer>& outputs) {
  const cuda::Pair found{static_cast<const std::int32_t*>(rank.untyped_data()),
                         static_cast<const std::int32_t*>(group.untyped_data())};
  cuda::launch_spoil_unless_equal(stream, found, seat.rank, seat.group, regions_of(outputs));
}

void spoil_if_any(cudaStream_t stream, const std::vector<const std::int32_t*>& flags,
                  const std::vector<xf::AnyBuffer>& outputs) {
  for (const std::int32_t* flag : flags) {
    cuda::launch_spoil_unless_equal(stream, {flag, flag}, 0, 0, regions_of(outputs));
  }
}

void forget_seats() {
  std::unique_lock lock(seats().mutex);
  seats().known.clear();
}

void swap_seats() {
  std::unique_lock lock(seats().mutex);
  for (auto& [site, seat] : seats().known) seat.rank ^= 1;
}

namespace {

xf::Error instantiate(xf::RemainingArgs, xf::RemainingRets, xf::Dictionary) {
  forget_seats();
  learn_job();
  return xf::Error::Success();
}

}  // namespace

/// Every handler's first stage.
XLA_FFI_DEFINE_HANDLER_SYMBOL(
    jaxmg_instantiate_cuda, instantiate,
    xf::Ffi::BindInstantiate().RemainingArgs().RemainingRets().Attrs<xf::Dictionary>());

}  // namespace jaxmg::ffi
