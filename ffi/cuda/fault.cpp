#include "cuda/fault.hpp"

#include <chrono>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>

#include "device/cuda/kernels.hpp"

namespace jaxmg::ffi {
namespace {

struct Injected {
  int rank;
  Fault fault;
  int after;
};

std::mutex mutex;
std::optional<Injected> injected;

std::optional<Injected> take_fault(int rank) {
  std::unique_lock lock(mutex);
  if (!injected || injected->rank != rank) return std::nullopt;
  return std::exchange(injected, std::nullopt);
}

}  // namespace

void inject_fault(int rank, Fault fault, int after) {
  std::unique_lock lock(mutex);
  injected = Injected{rank, fault, after};
}

RankProgram<cuda::Backend> with_injected_fault(int rank, RankProgram<cuda::Backend> program) {
  const auto found = take_fault(rank);
  if (!found) return program;
  const int after = found->after;
  switch (found->fault) {
    case Fault::error:
      return [program = std::move(program), after](Rank<cuda::Backend>& self) {
        const cuda::FailingCall failing("", after, cudaErrorUnknown);
        program(self);
      };
    case Fault::out_of_memory:
      return [program = std::move(program)](Rank<cuda::Backend>& self) {
        self.panel().lane().solver_bytes = 0;  // so that there is something to allocate
        const cuda::FailingCall failing("cudaMalloc", 1, cudaErrorMemoryAllocation);
        program(self);
      };
    case Fault::trap:
      return [program = std::move(program)](Rank<cuda::Backend>& self) {
        cuda::launch_trap(self.panel().stream());
        program(self);
        self.synchronize();
      };
    case Fault::stall:
      return [program = std::move(program), after](Rank<cuda::Backend>& self) {
        std::this_thread::sleep_for(std::chrono::milliseconds(after));
        program(self);
      };
    case Fault::late:
      std::this_thread::sleep_for(std::chrono::milliseconds(after));
  }
  return program;
}

}  // namespace jaxmg::ffi
