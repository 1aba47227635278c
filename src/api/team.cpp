#include "jaxmg/team.hpp"

#include "device/cpu/blas.hpp"
#include "device/cpu/queue.hpp"
#include "jaxmg/error.hpp"

namespace jaxmg {

Team Team::cpu(int ranks, const CpuTeamOptions& options) {
  if (ranks < 1) throw InvalidArgument("ranks: expected at least 1, got " + std::to_string(ranks));
  return Team(ranks, options);
}

std::string cpu_blas_name() { return cpu::blas_name(); }

void set_cpu_chaos(unsigned seed, unsigned max_delay_us) { cpu::set_chaos({seed, max_delay_us}); }

}  // namespace jaxmg
