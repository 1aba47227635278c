#include "jaxmg/team.hpp"

#include "api/public/engine.hpp"
#include "device/cpu/blas.hpp"
#include "device/cpu/queue.hpp"
#include "jaxmg/error.hpp"

namespace jaxmg {

Team Team::cpu(int ranks, const CpuTeamOptions& options) {
  if (ranks < 1) throw InvalidArgument("ranks: expected at least 1, got " + std::to_string(ranks));
  return Team(ranks, CpuRanks{ranks, options});
}

Team Team::cuda(std::vector<int> devices, const CudaTeamOptions& options) {
  if (devices.empty()) throw InvalidArgument("devices: expected at least one GPU, got none");
  CudaRanks ranks{std::move(devices), options};
#ifdef JAXMG_WITH_CUDA
  CudaEngine::check_ranks(ranks);
  const auto size = static_cast<int>(ranks.devices.size());
  return Team(size, std::move(ranks));
#else
  throw DeviceError(
      "Team::cuda: this jaxmg was built without its CUDA engine, for which CMake must find CUDA 12 "
      "or 13");
#endif
}

int cuda_device_count() {
#ifdef JAXMG_WITH_CUDA
  return cuda::device_count();
#else
  return 0;
#endif
}

std::string cpu_blas_name() { return cpu::blas_name(); }

void set_cpu_chaos(unsigned seed, unsigned max_delay_us) { cpu::set_chaos({seed, max_delay_us}); }

}  // namespace jaxmg
