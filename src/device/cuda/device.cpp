#include "device/cuda/device.hpp"

#include <array>
#include <iostream>
#include <mutex>
#include <utility>

#include "device/cuda/current_device.hpp"
#include "device/cuda/large_product.hpp"

namespace jaxmg::cuda {
namespace {

constexpr int most_devices = 64;

/// What is kept between calls, per GPU. Never destroyed.
struct Kept {
  std::mutex mutex;
  std::vector<std::unique_ptr<Context>> contexts;
  std::vector<cudaEvent_t> events;
  std::once_flag peers;
};

Kept& kept(int ordinal) {
  static auto* const all = new std::array<Kept, most_devices>;
  return (*all)[static_cast<std::size_t>(ordinal)];
}

int current_device() {
  int ordinal = 0;
  JAXMG_CUDA(cudaGetDevice(&ordinal));
  return ordinal;
}

/// See reach_peers(). `ordinal` is current.
void enable_peers(int ordinal) {
  for (int peer = 0; peer < device_count(); ++peer) {
    if (peer == ordinal) continue;
    int reachable = 0;
    JAXMG_CUDA(cudaDeviceCanAccessPeer(&reachable, ordinal, peer));
    const cudaError_t status =
        reachable != 0 ? cudaDeviceEnablePeerAccess(peer, 0) : cudaErrorPeerAccessUnsupported;
    cudaGetLastError();
    if (status == cudaSuccess || status == cudaErrorPeerAccessAlreadyEnabled) continue;
    static std::once_flag warned;
    std::call_once(warned, [&] {
      std::cerr << "jaxmg: GPU " << ordinal << " cannot read GPU " << peer
                << "'s memory; copies between GPUs go through the host" << std::endl;
    });
  }
}

std::unique_ptr<Lane> make_lane(Priority priority) {
  int least = 0, greatest = 0;
  JAXMG_CUDA(cudaDeviceGetStreamPriorityRange(&least, &greatest));
  auto lane = std::make_unique<Lane>();
  JAXMG_CUDA(cudaStreamCreateWithPriority(&lane->stream, cudaStreamNonBlocking,
                                          priority == Priority::high ? greatest : least));
  JAXMG_CUDA(cublasCreate(&lane->blas));
  JAXMG_CUDA(cublasSetStream(lane->blas, lane->stream));
  lane->large_product = find_large_product(lane->blas);
  JAXMG_CUDA(cusolverDnCreate(&lane->solver));
  JAXMG_CUDA(cusolverDnSetStream(lane->solver, lane->stream));
  JAXMG_CUDA(cusolverDnCreateParams(&lane->params));
  void* info = nullptr;
  JAXMG_CUDA(cudaMalloc(&info, sizeof(int)));
  lane->solver_info = static_cast<int*>(info);
  return lane;
}

}  // namespace

/// Of a lane that could not be finished: others stay (see Context).
Lane::~Lane() {
  cudaFree(solver_info);
  cudaFree(solver_workspace);
  if (params != nullptr) cusolverDnDestroyParams(params);
  if (solver != nullptr) cusolverDnDestroy(solver);
  if (blas != nullptr) cublasDestroy(blas);
  if (stream != nullptr) cudaStreamDestroy(stream);
  cudaGetLastError();
}

void Context::fill(Priority priority, std::size_t count) {
  auto& of_priority = lanes[static_cast<int>(priority)];
  while (of_priority.size() < count) of_priority.push_back(make_lane(priority));
}

void Lane::reserve(std::size_t device_bytes, std::size_t host_bytes) {
  if (host_bytes > solver_host.size()) {
    JAXMG_CUDA(cudaStreamSynchronize(stream));
    solver_host.resize(host_bytes);
  }
  if (device_bytes <= solver_bytes) return;
  solver_bytes = 0;
  JAXMG_CUDA(cudaFree(std::exchange(solver_workspace, nullptr)));  // waits for the device
  JAXMG_CUDA(cudaMalloc(&solver_workspace, device_bytes));
  solver_bytes = device_bytes;
}

struct Event::Recycled {
  cudaEvent_t event;
  int ordinal;

  explicit Recycled(int ordinal_) : event(nullptr), ordinal(ordinal_) {
    Kept& store = kept(ordinal);
    {
      std::unique_lock lock(store.mutex);
      if (!store.events.empty()) {
        event = store.events.back();
        store.events.pop_back();
      }
    }
    if (event == nullptr) JAXMG_CUDA(cudaEventCreateWithFlags(&event, cudaEventDisableTiming));
  }
  ~Recycled() {
    Kept& store = kept(ordinal);
    std::unique_lock lock(store.mutex);
    store.events.push_back(event);
  }
  Recycled(const Recycled&) = delete;
  Recycled& operator=(const Recycled&) = delete;
};

Event Event::record(cudaStream_t stream) {
  auto handle = std::make_shared<Recycled>(current_device());
  JAXMG_CUDA(cudaEventRecord(handle->event, stream));
  return Event(std::move(handle));
}

void Event::make_wait(cudaStream_t stream) const {
  if (handle_) JAXMG_CUDA(cudaStreamWaitEvent(stream, handle_->event, 0));
  if (words_ != nullptr) words_->make_wait(stream, word_, value_);
}

bool Event::has_happened() const {
  if (!handle_) return true;
  const bool not_yet = cudaEventQuery(handle_->event) == cudaErrorNotReady;
  cudaGetLastError();
  return !not_yet;
}

void Event::synchronize() const {
  if (handle_) JAXMG_CUDA(cudaEventSynchronize(handle_->event));
}

Device::Device(int ordinal, cudaStream_t caller) : caller_(caller) {
  JAXMG_CUDA(cudaSetDevice(ordinal));
  reach_peers(ordinal);
  Kept& store = kept(ordinal);
  {
    std::unique_lock lock(store.mutex);
    if (!store.contexts.empty()) {
      context_ = std::move(store.contexts.back());
      store.contexts.pop_back();
    }
  }
  if (context_ == nullptr) {
    context_ = std::make_unique<Context>();
    context_->ordinal = ordinal;
  }
  try {
    // What a rank takes: made here, before ranks meet, since creation may block on the device.
    context_->fill(Priority::normal, 2);
    context_->fill(Priority::high, 3);
    entry_ = Event::record(caller);
  } catch (...) {
    give_back();
    throw;
  }
}

Device::~Device() { give_back(); }

void Device::give_back() {
  Kept& store = kept(context_->ordinal);
  std::unique_lock lock(store.mutex);
  store.contexts.push_back(std::move(context_));
}

Lane& Device::take_lane(Priority priority) {
  const std::size_t index = taken_[static_cast<int>(priority)]++;
  context_->fill(priority, index + 1);
  Lane& lane = *context_->lanes[static_cast<int>(priority)][index];
  entry_.make_wait(lane.stream);
  return lane;
}

void reach_peers(int ordinal) {
  std::call_once(kept(ordinal).peers, [ordinal] {
    const CurrentDevice current(ordinal);
    enable_peers(ordinal);
  });
}

int device_count() {
  int count = 0;
  if (cudaGetDeviceCount(&count) != cudaSuccess) {
    cudaGetLastError();
    return 0;
  }
  return count;
}

}  // namespace jaxmg::cuda
