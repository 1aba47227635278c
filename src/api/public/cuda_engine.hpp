// The engine of ranks on NVIDIA GPUs; see engine.hpp.
#pragma once

#include <memory>

#include "api/cholesky_plan.hpp"
#include "device/cuda/backend.hpp"
#include "device/cuda/memory.hpp"
#include "jaxmg/team.hpp"
#include "team/rank.hpp"

namespace jaxmg {

class CudaEngine {
 public:
  using Backend = cuda::Backend;
  static constexpr Platform platform = Platform::cuda;

  /// Throws what keeps these ranks from running here.
  static void check_ranks(const CudaRanks& ranks);

  explicit CudaEngine(const CudaRanks& ranks) : ranks_(ranks) {}

  int size() const { return static_cast<int>(ranks_.devices.size()); }
  bool reads_peers_directly() const { return false; }
  template <class T>
  std::shared_ptr<T> allocate(int rank, index_t count) const {
    const auto memory =
        cuda::allocate(device_of(rank), static_cast<std::size_t>(count) * sizeof(T));
    return {memory, static_cast<T*>(memory.get())};
  }
  void check_memory(int rank, const void* data) const;
  void run(const RankProgram<Backend>& program) const;

 private:
  int device_of(int rank) const { return ranks_.devices[static_cast<std::size_t>(rank)]; }

  CudaRanks ranks_;
};

}  // namespace jaxmg
