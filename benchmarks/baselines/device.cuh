// Devices, their memory, and handles of libraries, each given back by its destructor.
#pragma once

#include <chrono>
#include <cstdint>
#include <utility>
#include <vector>

#include "check.hpp"

namespace jaxmg_baselines {

inline void select(int device) { BASELINES_CUDA(cudaSetDevice(device)); }

/// Waits for all work on `devices`.
inline void synchronize(const std::vector<int>& devices) {
  for (const int device : devices) {
    select(device);
    BASELINES_CUDA(cudaDeviceSynchronize());
  }
}

/// Seconds from idle devices to idle devices.
template <class Work>
double seconds_of(const std::vector<int>& devices, const Work& work) {
  synchronize(devices);
  const auto begin = std::chrono::steady_clock::now();
  work();
  synchronize(devices);
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

/// `count` elements in the memory of one device.
template <class T>
class Buffer {
 public:
  Buffer(int device, std::int64_t count) : count_(count) {
    select(device);
    BASELINES_CUDA(cudaMalloc(&data_, static_cast<std::size_t>(count) * sizeof(T)));
  }
  Buffer(Buffer&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), count_(other.count_) {}
  Buffer& operator=(Buffer&&) = delete;
  ~Buffer() { cudaFree(data_); }

  T* data() const { return static_cast<T*>(data_); }

  std::vector<T> to_host() const {
    std::vector<T> host(static_cast<std::size_t>(count_));
    BASELINES_CUDA(cudaMemcpy(host.data(), data_, host.size() * sizeof(T), cudaMemcpyDefault));
    return host;
  }

 private:
  void* data_ = nullptr;
  std::int64_t count_;
};

/// A library's handle: `make` is called with where to put it and what else it takes.
template <class T, auto Destroy>
class Handle {
 public:
  template <class Make, class... Arguments>
  explicit Handle(const Make& make, Arguments... arguments) {
    BASELINES_CUDA(make(&value_, arguments...));
  }
  Handle(Handle&& other) noexcept : value_(std::exchange(other.value_, T{})) {}
  Handle& operator=(Handle&&) = delete;
  ~Handle() {
    if (value_ != T{}) Destroy(value_);
  }

  operator T() const { return value_; }

 private:
  T value_{};
};

using Event = Handle<cudaEvent_t, cudaEventDestroy>;

}  // namespace jaxmg_baselines
