#include "api/public/cuda_engine.hpp"

#include <future>
#include <optional>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

namespace jaxmg {
namespace {

using Call = LocalTeamCall<cuda::Backend>;

/// The stream that a rank's call comes on, of the current GPU.
class CallStream {
 public:
  CallStream() { JAXMG_CUDA(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking)); }
  ~CallStream() { cudaStreamDestroy(stream_); }
  CallStream(const CallStream&) = delete;
  CallStream& operator=(const CallStream&) = delete;

  cudaStream_t get() const { return stream_; }
  void synchronize() const { JAXMG_CUDA(cudaStreamSynchronize(stream_)); }

 private:
  cudaStream_t stream_ = nullptr;
};

/// One rank, on a thread of its own, until its results are there. Returns null or what failed.
std::exception_ptr run_rank_on(int ordinal, Call& call, int index,
                               const RankProgram<cuda::Backend>& program) {
  std::optional<CallStream> stream;
  std::optional<cuda::Device> device;
  try {
    JAXMG_CUDA(cudaSetDevice(ordinal));
    stream.emplace();
    device.emplace(ordinal, stream->get());
  } catch (...) {
    // The others are in run_rank(), and meet twice after a failure.
    call.poison(index, std::current_exception());
    call.meet(index);
    return call.meet(index);
  }
  if (const std::exception_ptr failure = run_rank(call, index, *device, program)) return failure;
  try {
    stream->synchronize();
  } catch (...) {
    return std::current_exception();
  }
  return nullptr;
}

}  // namespace

void CudaEngine::check_ranks(const CudaRanks& ranks) {
  int count = 0;
  const cudaError_t status = cudaGetDeviceCount(&count);
  cudaGetLastError();
  if (status != cudaSuccess || count == 0) {
    throw DeviceError(std::string("Team::cuda: no NVIDIA GPU can be used: ") +
                      (status == cudaSuccess ? "there is none" : cudaGetErrorString(status)));
  }
  for (const int device : ranks.devices) {
    if (device >= 0 && device < count) continue;
    throw InvalidArgument("devices: expected GPUs from 0 to " + std::to_string(count - 1) +
                          ", got " + std::to_string(device));
  }
}

void CudaEngine::check_memory(int rank, const void* data) const {
  const int device = device_of(rank);
  if (cuda::is_memory_of(device, data)) return;
  throw InvalidArgument("shards: expected memory of GPU " + std::to_string(device) + " for rank " +
                        std::to_string(rank) + ", got an address that is not");
}

void CudaEngine::run(const RankProgram<Backend>& program) const {
  Call call(size(), {reads_peers_directly(), ranks_.options.silence});
  std::vector<std::exception_ptr> failures(ranks_.devices.size());
  std::vector<std::thread> threads;
  threads.reserve(failures.size());
  // No rank begins before all have a thread.
  std::promise<bool> all_here;
  const std::shared_future<bool> start = all_here.get_future().share();
  const auto join = [&threads] {
    for (std::thread& thread : threads) thread.join();
  };
  try {
    for (int p = 0; p < size(); ++p) {
      threads.emplace_back([&, p, start] {
        if (!start.get()) return;
        failures[static_cast<std::size_t>(p)] = run_rank_on(device_of(p), call, p, program);
      });
    }
  } catch (const std::system_error& error) {
    all_here.set_value(false);
    join();
    throw Error(std::string("could not start a thread for each rank: ") + error.what());
  }
  all_here.set_value(true);
  join();
  for (const std::exception_ptr& failure : failures) {
    if (failure) std::rethrow_exception(failure);
  }
}

}  // namespace jaxmg
